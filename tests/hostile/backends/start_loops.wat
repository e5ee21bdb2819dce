;; Loops in its start function.
(func $begin (loop $l (br $l)))
(start $begin)
