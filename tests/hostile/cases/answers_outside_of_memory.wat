;; Its answer is where its memory has ended.
(func $evaluate (param $p i32) (result i32) (call $give_back (local.get $p)) (i32.const -8))
