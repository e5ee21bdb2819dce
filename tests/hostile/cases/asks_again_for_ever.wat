;; Scores, and always wants to be asked again, in 49 days.
(func $evaluate (param $p i32) (result i32)
  (call $give_back (local.get $p))
  (drop (call $scores (call $count (local.get $p)) (i32.const 5000)))
  (i32.store8 (i32.const 148) (i32.const 1)) (i32.store (i32.const 152) (i32.const 0xffffffff))
  (i32.const 128))
