;; Loops for ever when it is asked.
(func $evaluate (param $p i32) (result i32) (loop $l (br $l)) (unreachable))
