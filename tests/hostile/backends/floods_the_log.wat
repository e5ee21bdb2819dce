;; Writes ten thousand lines, and does what it should.
(import "flocker:plugin/log@0.1.0" "write" (func $log (param i32 i32 i32 i32 i32)))
(data (i32.const 512) "\1b[2Jflood")
(func $create (type $create) 
  (local $i i32)
  (loop $next
    (call $log (i32.const 3) (i32.const 512) (i32.const 9) (i32.const 0) (i32.const 0))
    (local.set $i (i32.add (local.get $i) (i32.const 1)))
    (br_if $next (i32.lt_u (local.get $i) (i32.const 10000))))
  (call $save (local.get 6) (local.get 7) (i32.const 0) (local.get 2) (local.get 8))
  (call $make (i32.const 3072) (call $path (local.get 6) (local.get 7))
    (local.get 9) (local.get 10) (local.get 11) (i32.const 2656))
  (call $done))
