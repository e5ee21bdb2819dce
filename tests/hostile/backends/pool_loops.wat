;; Loops when it is asked for its room.
(func $pool (type $look) (loop $l (br $l)) (unreachable))
