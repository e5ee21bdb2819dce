;; Writes to the log at level 77.
(import "flocker:plugin/log@0.1.0" "write" (func $log (param i32 i32 i32 i32 i32)))
(func $evaluate (param $p i32) (result i32)
  (call $log (i32.const 77) (i32.const 16) (i32.const 1) (i32.const 0) (i32.const 0)) (unreachable))
