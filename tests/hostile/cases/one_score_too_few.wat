;; Gives one score less than there are candidates.
(func $evaluate (param $p i32) (result i32)
  (call $give_back (local.get $p))
  (call $scores (i32.sub (call $count (local.get $p)) (i32.const 1)) (i32.const 5000)))
