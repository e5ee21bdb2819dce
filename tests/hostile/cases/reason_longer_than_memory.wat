;; Gives a reason of two billion characters.
(func $evaluate (param $p i32) (result i32)
  (call $give_back (local.get $p))
  (drop (call $scores (call $count (local.get $p)) (i32.const 1)))
  (i32.store (i32.const 520) (i32.const 528)) (i32.store (i32.const 524) (i32.const 0x7fffffff))
  (i32.store (i32.const 140) (i32.const 512)) (i32.store (i32.const 144) (i32.const 1))
  (i32.const 128))
