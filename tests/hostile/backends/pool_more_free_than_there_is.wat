;; Has more free room than room.
(func $pool (type $look) (call $room (i64.const 1) (i64.const 2)))
