;; Fills every page of a list of snapshots, each of another name.
(func $letters (param $n i32) (result i32)
  (i32.or (i32.or
      (i32.add (i32.const 97) (i32.div_u (local.get $n) (i32.const 17576)))
      (i32.shl (i32.add (i32.const 97) (i32.rem_u (i32.div_u (local.get $n) (i32.const 676)) (i32.const 26))) (i32.const 8)))
    (i32.or
      (i32.shl (i32.add (i32.const 97) (i32.rem_u (i32.div_u (local.get $n) (i32.const 26)) (i32.const 26))) (i32.const 16))
      (i32.shl (i32.add (i32.const 97) (i32.rem_u (local.get $n) (i32.const 26))) (i32.const 24)))))
(func $number (param $p i32) (result i32)
  (i32.add (i32.add
      (i32.mul (i32.sub (i32.load8_u (local.get $p)) (i32.const 97)) (i32.const 17576))
      (i32.mul (i32.sub (i32.load8_u offset=1 (local.get $p)) (i32.const 97)) (i32.const 676)))
    (i32.add
      (i32.mul (i32.sub (i32.load8_u offset=2 (local.get $p)) (i32.const 97)) (i32.const 26))
      (i32.sub (i32.load8_u offset=3 (local.get $p)) (i32.const 97)))))
(func $snapshots (type $snapshots)
  (local $i i32) (local $n i32) (local $name i32)
  (if (local.get 2) (then (local.set $n (i32.add (call $number (local.get 3)) (i32.const 1)))))
  (loop $next
    (local.set $name (i32.add (i32.const 49152) (i32.shl (local.get $i) (i32.const 3))))
    (i32.store (local.get $name) (call $letters (i32.add (local.get $n) (local.get $i))))
    (call $taken (i32.add (i32.const 16384) (i32.mul (local.get $i) (i32.const 40)))
      (local.get $name) (i32.const 4) (local.get $name) (i32.const 4))
    (local.set $i (i32.add (local.get $i) (i32.const 1)))
    (br_if $next (i32.lt_u (local.get $i) (local.get 5))))
  (call $list (i32.const 16384) (local.get 5)))
