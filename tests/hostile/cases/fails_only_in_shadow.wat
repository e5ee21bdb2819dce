;; Breaks when it is only tried out, so that nobody would see it.
(func $evaluate (param $p i32) (result i32)
  (if (i32.load8_u offset=32 (local.get $p)) (then (unreachable)))
  (call $give_back (local.get $p))
  (call $scores (call $count (local.get $p)) (i32.const 5000)))
