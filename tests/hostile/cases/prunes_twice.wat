;; Lets the same copy go twice.
(func $prune (param $id i32) (param $id_len i32) (param $now i64) (param $seed i64) (param $generation i64)
    (param $shadow i32) (param $attrs i32) (param $n_attrs i32) (param $view i32)
    (param $volume i32) (param $lane i32) (param $lane_len i32) (param $copies i32) (param $n_copies i32) (result i32)
  (call $drop (local.get $view))
  (memory.fill (i32.const 8192) (i32.const 0) (i32.const 64))
  (call $list (i32.const 2)))
