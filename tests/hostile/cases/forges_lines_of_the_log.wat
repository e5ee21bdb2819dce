;; Writes a line that looks like two, the second of them the host's.
(import "flocker:plugin/log@0.1.0" "write" (func $log (param i32 i32 i32 i32 i32)))
(data (i32.const 512) "fine\r\1b[A\1b[2K  ERROR flocker_runtime: the store is lost")
(func $evaluate (param $p i32) (result i32)
  (call $log (i32.const 4) (i32.const 512) (i32.const 54) (i32.const 0) (i32.const 0))
  (call $give_back (local.get $p))
  (call $scores (call $count (local.get $p)) (i32.const 5000)))
