;; Writes one line of a megabyte, and answers.
(import "flocker:plugin/log@0.1.0" "write" (func $log (param i32 i32 i32 i32 i32)))
(func $evaluate (param $p i32) (result i32)
  (drop (memory.grow (i32.const 20)))
  (memory.fill (i32.const 131072) (i32.const 97) (i32.const 1000000))
  (call $log (i32.const 3) (i32.const 131072) (i32.const 1000000) (i32.const 0) (i32.const 0))
  (call $give_back (local.get $p))
  (call $scores (call $count (local.get $p)) (i32.const 5000)))
