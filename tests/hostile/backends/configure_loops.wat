;; Loops when it is given its settings.
(func $configure (param i32 i32) (result i32) (loop $l (br $l)) (unreachable))
