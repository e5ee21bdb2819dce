;; Asks for a file of the machine by way of HTTP.
(import "flocker:plugin/http@0.1.0" "send" (func $send (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
(global $n_needs i32 (i32.const 5))
(data (i32.const 512) "GET") (data (i32.const 520) "file:///etc/shadow")
(func $create (type $create) 
  (call $send (i32.const 512) (i32.const 3) (i32.const 520) (i32.const 18) (i32.const 0) (i32.const 0)
    (i32.const 0) (i32.const 0) (i32.const 1000) (i32.const 0) (i32.const 0) (i32.const 2688))
  (i32.const 2688))
