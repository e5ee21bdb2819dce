;; Has what is received written into a folder of the machine.
(data (i32.const 512) "/etc/owned")
(func $plan_receive (type $plan_receive)
  (call $save (i32.load offset=32 (local.get 0)) (i32.load offset=36 (local.get 0)) (i32.const 2)
    (i64.load offset=8 (local.get 0)) (i64.load offset=80 (local.get 0)))
  (call $access (i32.const 0) (i32.const 512) (i32.const 10)))
