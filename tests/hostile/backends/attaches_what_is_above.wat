;; Says that the volume is above the granted directory.
(data (i32.const 512) "/pool/../../etc")
(func $attach (type $change) (call $access (i32.const 0) (i32.const 512) (i32.const 15)))
