;; Calls itself for ever.
(func $evaluate (param $p i32) (result i32) (call $evaluate (local.get $p)))
