;; Sleeps for an hour in the host when it is asked for its room.
(import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration" (func $later (param i64) (result i32)))
(import "wasi:io/poll@0.2.0" "[method]pollable.block" (func $block (param i32)))
(func $pool (type $look) (call $block (call $later (i64.const 3600000000000))) (unreachable))
