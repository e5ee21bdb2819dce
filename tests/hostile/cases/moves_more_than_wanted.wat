;; Proposes a hundred moves, which are one a hundred times.
(func $plan (param $id i32) (param $id_len i32) (param $now i64) (param $seed i64) (param $generation i64)
    (param $shadow i32) (param $attrs i32) (param $n_attrs i32) (param $view i32)
    (param $movable i32) (param $n_movable i32) (param $max_moves i32) (result i32)
  (local $i i32)
  (call $drop (local.get $view))
  (if (i32.eqz (local.get $n_movable)) (then (return (call $moves (i32.const 0)))))
  (loop $next
    (i32.store (i32.add (i32.const 8192) (i32.shl (local.get $i) (i32.const 5))) (i32.load (local.get $movable)))
    (local.set $i (i32.add (local.get $i) (i32.const 1)))
    (br_if $next (i32.lt_u (local.get $i) (i32.const 100))))
  (call $moves (i32.const 100)))
