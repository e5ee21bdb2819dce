;; Loops for ever when it is asked what is due.
(func $next (param $id i32) (param $id_len i32) (param $now i64) (param $seed i64) (param $generation i64)
    (param $shadow i32) (param $attrs i32) (param $n_attrs i32) (param $view i32)
    (param $volumes i32) (param $n_volumes i32) (param $horizon i64) (result i32)
  (loop $l (br $l)) (unreachable))
