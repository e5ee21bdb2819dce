;; Fills its list with one name.
(func $volumes (type $volumes)
  (local $i i32) (local $n i32)
  
  (loop $next
    (i32.store (i32.add (i32.const 49152) (i32.shl (local.get $i) (i32.const 3))) (i32.const 0x61616161))
    (call $volume (i32.add (i32.const 16384) (i32.mul (local.get $i) (i32.const 48)))
      (i32.add (i32.const 49152) (i32.shl (local.get $i) (i32.const 3))) (i32.const 4) (i32.const 0))
    (local.set $i (i32.add (local.get $i) (i32.const 1)))
    (br_if $next (i32.lt_u (local.get $i) (local.get 3))))
  (call $list (i32.const 16384) (local.get 3)))
