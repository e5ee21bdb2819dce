;; Loops for ever when it is asked what had better be elsewhere.
(func $plan (param $id i32) (param $id_len i32) (param $now i64) (param $seed i64) (param $generation i64)
    (param $shadow i32) (param $attrs i32) (param $n_attrs i32) (param $view i32)
    (param $movable i32) (param $n_movable i32) (param $max_moves i32) (result i32)
  (loop $l (br $l)) (unreachable))
