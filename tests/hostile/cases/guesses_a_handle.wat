;; Asks a view that it was never lent.
(import "flocker:plugin/cluster@0.1.0" "[method]view.generation" (func $generation (param i32) (result i64)))
(func $evaluate (param $p i32) (result i32)
  (drop (call $generation (i32.const 4711))) (unreachable))
