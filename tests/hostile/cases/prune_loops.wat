;; Loops for ever when it is asked which copies may go.
(func $prune (param $id i32) (param $id_len i32) (param $now i64) (param $seed i64) (param $generation i64)
    (param $shadow i32) (param $attrs i32) (param $n_attrs i32) (param $view i32)
    (param $volume i32) (param $lane i32) (param $lane_len i32) (param $copies i32) (param $n_copies i32) (result i32)
  (loop $l (br $l)) (unreachable))
