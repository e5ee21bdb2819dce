;; Measures ten thousand things, and does what it should.
(import "flocker:plugin/metrics@0.1.0" "gauge-set" (func $gauge (param i32 i32 f64)))
(func $create (type $create) 
  (local $i i32)
  (loop $next
    (i32.store (i32.const 512) (i32.add (i32.const 0x30303030) (local.get $i)))
    (call $gauge (i32.const 512) (i32.const 4) (f64.const nan))
    (local.set $i (i32.add (local.get $i) (i32.const 1)))
    (br_if $next (i32.lt_u (local.get $i) (i32.const 80))))
  (call $save (local.get 6) (local.get 7) (i32.const 0) (local.get 2) (local.get 8))
  (call $make (i32.const 3072) (call $path (local.get 6) (local.get 7))
    (local.get 9) (local.get 10) (local.get 11) (i32.const 2656))
  (call $done))
