;; Loops when it is asked what it drives.
(func $describe_backend (type $look) (loop $l (br $l)) (unreachable))
