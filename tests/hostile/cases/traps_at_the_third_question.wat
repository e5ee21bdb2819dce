;; Answers twice, and breaks at every third question.
(global $n (mut i32) (i32.const 0))
(func $evaluate (param $p i32) (result i32)
  (global.set $n (i32.add (global.get $n) (i32.const 1)))
  (if (i32.eq (global.get $n) (i32.const 3)) (then (unreachable)))
  (call $give_back (local.get $p))
  (call $scores (call $count (local.get $p)) (i32.const 5000)))
