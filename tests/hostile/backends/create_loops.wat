;; Loops when it is to make a volume.
(func $create (type $create) (loop $l (br $l)) (unreachable))
