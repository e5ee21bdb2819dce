;; Fills every page of its list with the first one.
(func $letters (param $n i32) (result i32)
  (i32.or (i32.or
      (i32.add (i32.const 97) (i32.div_u (local.get $n) (i32.const 17576)))
      (i32.shl (i32.add (i32.const 97) (i32.rem_u (i32.div_u (local.get $n) (i32.const 676)) (i32.const 26))) (i32.const 8)))
    (i32.or
      (i32.shl (i32.add (i32.const 97) (i32.rem_u (i32.div_u (local.get $n) (i32.const 26)) (i32.const 26))) (i32.const 16))
      (i32.shl (i32.add (i32.const 97) (i32.rem_u (local.get $n) (i32.const 26))) (i32.const 24)))))
(func $volumes (type $volumes)
  (local $i i32) (local $n i32)
  
  (loop $next
    (i32.store (i32.add (i32.const 49152) (i32.shl (local.get $i) (i32.const 3))) (call $letters (local.get $i)))
    (call $volume (i32.add (i32.const 16384) (i32.mul (local.get $i) (i32.const 48)))
      (i32.add (i32.const 49152) (i32.shl (local.get $i) (i32.const 3))) (i32.const 4) (i32.const 0))
    (local.set $i (i32.add (local.get $i) (i32.const 1)))
    (br_if $next (i32.lt_u (local.get $i) (local.get 3))))
  (call $list (i32.const 16384) (local.get 3)))
