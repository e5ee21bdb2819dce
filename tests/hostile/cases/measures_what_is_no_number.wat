;; Sets a gauge to what is no number, under a name that would colour a terminal.
(import "flocker:plugin/metrics@0.1.0" "gauge-set" (func $set (param i32 i32 f64)))
(data (i32.const 512) "\1b[31mred\n")
(func $evaluate (param $p i32) (result i32)
  (call $set (i32.const 512) (i32.const 9) (f64.const nan))
  (call $give_back (local.get $p))
  (call $scores (call $count (local.get $p)) (i32.const 5000)))
