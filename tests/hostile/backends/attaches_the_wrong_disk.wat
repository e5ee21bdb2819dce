;; Says that the volume is on a disk that was not granted.
(global $n_needs i32 (i32.const 5))
(data (i32.const 512) "/dev/mem")
(func $attach (type $change) (call $access (i32.const 1) (i32.const 512) (i32.const 8)))
