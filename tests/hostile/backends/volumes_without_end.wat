;; Has a list of two thousand million volumes.
(func $volumes (type $volumes) (call $list (i32.const 16384) (i32.const 0x7fffffff)))
