;; Has the host write a billion zeros to its stderr.
(import "wasi:cli/stderr@0.2.0" "get-stderr" (func $stderr (result i32)))
(import "wasi:io/streams@0.2.0" "[method]output-stream.write-zeroes" (func $zeroes (param i32 i64 i32)))
(func $evaluate (param $p i32) (result i32)
  (call $zeroes (call $stderr) (i64.const 1000000000) (i32.const 192)) (unreachable))
