;; Lists a volume whose name is a path.
(data (i32.const 512) "../../etc")
(func $volumes (type $volumes)
  (call $volume (i32.const 16384) (i32.const 512) (i32.const 9) (i32.const 0))
  (call $list (i32.const 16384) (i32.const 1)))
