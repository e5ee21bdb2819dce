;; Lists a volume in a role that is none.
(data (i32.const 512) "shop")
(func $volumes (type $volumes)
  (call $volume (i32.const 16384) (i32.const 512) (i32.const 4) (i32.const 0))
  (i32.store (i32.const 16392) (i32.const 4711)) (call $list (i32.const 16384) (i32.const 1)))
