;; Lists a volume of as many bytes as there are numbers.
(data (i32.const 512) "shop")
(func $volumes (type $volumes)
  (call $volume (i32.const 16384) (i32.const 512) (i32.const 4) (i32.const 0))
  (i64.store (i32.const 16408) (i64.const -1)) (call $list (i32.const 16384) (i32.const 1)))
