;; Has the bytes read from a command.
(func $plan_send (type $plan_send) (call $access (i32.const 2) (i32.const 288) (i32.const 9)))
