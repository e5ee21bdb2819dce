;; Finds something due, and does not say what.
(func $next (param $id i32) (param $id_len i32) (param $now i64) (param $seed i64) (param $generation i64)
    (param $shadow i32) (param $attrs i32) (param $n_attrs i32) (param $view i32)
    (param $volumes i32) (param $n_volumes i32) (param $horizon i64) (result i32)
  (call $drop (local.get $view))
  (memory.fill (i32.const 8192) (i32.const 0) (i32.const 64))
  (if (i32.eqz (local.get $n_volumes)) (then (return (call $schedule (i32.const 0) (i64.const 0)))))
  (i32.store (i32.const 8192) (i32.load (local.get $volumes)))
  (call $schedule (i32.const 1) (i64.const 60000)))
