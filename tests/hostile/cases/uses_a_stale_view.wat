;; Asks the view after it gave it back.
(import "flocker:plugin/cluster@0.1.0" "[method]view.generation" (func $generation (param i32) (result i64)))
(func $evaluate (param $p i32) (result i32)
  (call $give_back (local.get $p))
  (drop (call $generation (i32.load offset=48 (local.get $p))))
  (call $scores (call $count (local.get $p)) (i32.const 5000)))
