;; Scores by a random number.
(import "wasi:random/random@0.2.0" "get-random-u64" (func $random (result i64)))
(func $evaluate (param $p i32) (result i32)
  (call $give_back (local.get $p))
  (call $scores (call $count (local.get $p)) (i32.and (i32.wrap_i64 (call $random)) (i32.const 8191))))
