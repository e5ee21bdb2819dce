;; Loops when it is asked for its name.
(func $describe (type $look) (loop $l (br $l)) (unreachable))
