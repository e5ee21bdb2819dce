;; Lists a volume whose name clears the screen.
(data (i32.const 512) "a\1b[2J\07b")
(func $volumes (type $volumes)
  (call $volume (i32.const 16384) (i32.const 512) (i32.const 7) (i32.const 0))
  (call $list (i32.const 16384) (i32.const 1)))
