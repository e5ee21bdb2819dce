;; Has a folder of the machine sent.
(data (i32.const 512) "/pool/../../etc")
(func $plan_send (type $plan_send) (call $access (i32.const 0) (i32.const 512) (i32.const 15)))
