;; Its allocator takes the settings, and then calls the host back while the host hands something over.
(import "flocker:plugin/metrics@0.1.0" "counter-add" (func $add (param i32 i32 i64)))
(global $calls (mut i32) (i32.const 0))
(func $realloc (param i32 i32 i32 i32) (result i32)
  (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
  (if (i32.gt_u (global.get $calls) (i32.const 1)) (then (call $add (i32.const 16) (i32.const 1) (i64.const 1))))
  (i32.const 65536))
