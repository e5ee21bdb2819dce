;; Wants the bytes to pass through itself.
(data (i32.const 512) "token")
(func $attach (type $change) (call $access (i32.const 4) (i32.const 512) (i32.const 5)))
