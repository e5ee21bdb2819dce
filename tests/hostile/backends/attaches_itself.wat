;; Says that the volume is where processes are.
(data (i32.const 512) "/proc/self/root")
(func $attach (type $change) (call $access (i32.const 0) (i32.const 512) (i32.const 15)))
