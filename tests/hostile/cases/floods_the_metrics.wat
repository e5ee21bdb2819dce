;; Counts under a thousand names that it makes up.
(import "flocker:plugin/metrics@0.1.0" "counter-add" (func $add (param i32 i32 i64)))
(func $evaluate (param $p i32) (result i32)
  (local $i i32)
  (loop $next
    (i32.store8 (i32.const 512) (i32.add (i32.const 48) (i32.rem_u (local.get $i) (i32.const 10))))
    (i32.store8 (i32.const 513) (i32.add (i32.const 48) (i32.rem_u (i32.div_u (local.get $i) (i32.const 10)) (i32.const 10))))
    (i32.store8 (i32.const 514) (i32.add (i32.const 48) (i32.div_u (local.get $i) (i32.const 100))))
    (call $add (i32.const 512) (i32.const 3) (i64.const -1))
    (local.set $i (i32.add (local.get $i) (i32.const 1)))
    (br_if $next (i32.lt_u (local.get $i) (i32.const 1000))))
  (call $give_back (local.get $p))
  (call $scores (call $count (local.get $p)) (i32.const 5000)))
