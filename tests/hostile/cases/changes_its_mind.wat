;; Counts its questions, and lets the count decide: the same question gets another answer.
(global $n (mut i32) (i32.const 0))
(func $evaluate (param $p i32) (result i32)
  (global.set $n (i32.add (global.get $n) (i32.const 1)))
  (call $give_back (local.get $p))
  (call $scores (call $count (local.get $p)) (global.get $n)))
