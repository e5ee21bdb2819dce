;; Sleeps for an hour in the host, and answers.
(import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration" (func $later (param i64) (result i32)))
(import "wasi:io/poll@0.2.0" "[method]pollable.block" (func $block (param i32)))
(func $evaluate (param $p i32) (result i32)
  (call $block (call $later (i64.const 3600000000000)))
  (call $give_back (local.get $p))
  (call $scores (call $count (local.get $p)) (i32.const 5000)))
