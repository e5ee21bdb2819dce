;; Writes ten thousand lines, and answers.
(import "flocker:plugin/log@0.1.0" "write" (func $log (param i32 i32 i32 i32 i32)))
(data (i32.const 512) "flood")
(func $evaluate (param $p i32) (result i32)
  (local $i i32)
  (loop $next
    (call $log (i32.const 2) (i32.const 512) (i32.const 5) (i32.const 0) (i32.const 0))
    (local.set $i (i32.add (local.get $i) (i32.const 1)))
    (br_if $next (i32.lt_u (local.get $i) (i32.const 10000))))
  (call $give_back (local.get $p))
  (call $scores (call $count (local.get $p)) (i32.const 5000)))
