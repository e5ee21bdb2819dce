;; Says that it is the `spread` that is loaded already, in the same version, and breaks at every question.
(data $name (i32.const 16) "spread")
(global $name_len i32 (i32.const 6))
(data $version (i32.const 112) "0.1.0")
(func $evaluate (param $p i32) (result i32) (unreachable))
