;; Loops for ever when a node is silent.
(func $decide (param $p i32) (result i32) (loop $l (br $l)) (unreachable))
