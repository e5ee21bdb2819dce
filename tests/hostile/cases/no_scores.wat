;; Answers, and says nothing.
(func $evaluate (param $p i32) (result i32) (call $give_back (local.get $p)) (call $list (i32.const 0)))
