;; Looks for folders of the host by way of WASI, and breaks where there are any.
(import "wasi:filesystem/preopens@0.2.0" "get-directories" (func $directories (param i32)))
(func $evaluate (param $p i32) (result i32)
  (call $directories (i32.const 192))
  (if (i32.load (i32.const 196)) (then (unreachable)))
  (call $give_back (local.get $p))
  (call $scores (call $count (local.get $p)) (i32.const 5000)))
