;; Lists a volume whose name turns text round.
(data (i32.const 512) "a\e2\80\aeb")
(func $volumes (type $volumes)
  (call $volume (i32.const 16384) (i32.const 512) (i32.const 5) (i32.const 0))
  (call $list (i32.const 16384) (i32.const 1)))
