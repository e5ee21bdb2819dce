;; Gives the smallest number there is.
(func $evaluate (param $p i32) (result i32)
  (call $give_back (local.get $p))
  (call $scores (call $count (local.get $p)) (i32.const 0x80000000)))
