;; Its scores are where its memory has ended.
(func $evaluate (param $p i32) (result i32)
  (call $give_back (local.get $p))
  (drop (call $list (i32.const 3)))
  (i32.store (i32.const 132) (i32.const -16)) (i32.const 128))
