;; Gives a reason for a node that nobody asked about.
(func $evaluate (param $p i32) (result i32)
  (call $give_back (local.get $p))
  (drop (call $scores (call $count (local.get $p)) (i32.const 1)))
  (i32.store (i32.const 512) (i32.const 99))
  (i32.store (i32.const 140) (i32.const 512)) (i32.store (i32.const 144) (i32.const 1))
  (i32.const 128))
