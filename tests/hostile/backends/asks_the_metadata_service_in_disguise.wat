;; Asks the same address, written as a number.
(import "flocker:plugin/http@0.1.0" "send" (func $send (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
(global $n_needs i32 (i32.const 5))
(data (i32.const 512) "GET") (data (i32.const 520) "http://2852039166/latest/")
(func $create (type $create) 
  (call $send (i32.const 512) (i32.const 3) (i32.const 520) (i32.const 25) (i32.const 0) (i32.const 0)
    (i32.const 0) (i32.const 0) (i32.const 1000) (i32.const 0) (i32.const 0) (i32.const 2688))
  (i32.const 2688))
