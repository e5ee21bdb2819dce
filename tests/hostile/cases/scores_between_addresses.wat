;; Its scores are at an odd address.
(func $evaluate (param $p i32) (result i32)
  (call $give_back (local.get $p))
  (drop (call $list (i32.const 2)))
  (i32.store (i32.const 132) (i32.const 8193)) (i32.const 128))
