;; Says that the volume is at a path without a beginning.
(data (i32.const 512) "pool")
(func $attach (type $change) (call $access (i32.const 0) (i32.const 512) (i32.const 4)))
