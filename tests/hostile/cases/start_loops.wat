;; Loops in its start function, which runs before anything is called.
(func $begin (loop $l (br $l)))
(start $begin)
