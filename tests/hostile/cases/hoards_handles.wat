;; Takes a million handles and gives none back.
(import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration" (func $later (param i64) (result i32)))
(func $evaluate (param $p i32) (result i32)
  (loop $l (drop (call $later (i64.const 1))) (br $l)) (unreachable))
