;; Runs a shell, which was not granted.
(import "flocker:plugin/commands@0.1.0" "run" (func $run (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
(global $n_needs i32 (i32.const 5))
(data (i32.const 512) "/bin/sh")
(func $create (type $create) 
  (call $run (i32.const 512) (i32.const 7) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
    (i32.const 1000) (i32.const 0) (i32.const 0) (i32.const 2688))
  (i32.const 2688))
