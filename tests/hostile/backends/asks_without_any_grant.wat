;; Asks by HTTP without having said that it needs that.
(import "flocker:plugin/http@0.1.0" "send" (func $send (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))

(data (i32.const 512) "GET") (data (i32.const 520) "http://127.0.0.1:1/api")
(func $create (type $create) 
  (call $send (i32.const 512) (i32.const 3) (i32.const 520) (i32.const 22) (i32.const 0) (i32.const 0)
    (i32.const 0) (i32.const 0) (i32.const 1000) (i32.const 0) (i32.const 0) (i32.const 2688))
  (i32.const 2688))
