;; Grows to 128 MiB, and answers.
(func $evaluate (param $p i32) (result i32)
  (drop (memory.grow (i32.const 2000)))
  (call $give_back (local.get $p))
  (call $scores (call $count (local.get $p)) (i32.const 5000)))
