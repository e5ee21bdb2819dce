;; Runs the granted program without having said that it needs it.
(import "flocker:plugin/commands@0.1.0" "run" (func $run (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))

(data (i32.const 512) "/bin/echo")
(func $create (type $create) 
  (call $run (i32.const 512) (i32.const 9) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
    (i32.const 1000) (i32.const 0) (i32.const 0) (i32.const 2688))
  (i32.const 2688))
