;; Proposes to move an app that there is not.
(func $plan (param $id i32) (param $id_len i32) (param $now i64) (param $seed i64) (param $generation i64)
    (param $shadow i32) (param $attrs i32) (param $n_attrs i32) (param $view i32)
    (param $movable i32) (param $n_movable i32) (param $max_moves i32) (result i32)
  (call $drop (local.get $view))
  (memory.fill (i32.const 8192) (i32.const 0) (i32.const 64))
  (i32.store (i32.const 8192) (i32.const 4711))
  (call $moves (i32.const 1)))
