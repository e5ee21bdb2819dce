;; Sleeps in the host, again and again: each sleep costs it next to nothing.
(import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration" (func $later (param i64) (result i32)))
(import "wasi:io/poll@0.2.0" "[method]pollable.block" (func $block (param i32)))
(func $evaluate (param $p i32) (result i32)
  (local $pollable i32)
  (local.set $pollable (call $later (i64.const 3600000000000)))
  (loop $l (call $block (local.get $pollable)) (br $l)) (unreachable))
