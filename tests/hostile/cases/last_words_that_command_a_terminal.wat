;; Clears the screen by way of its stderr, and breaks in a function whose name does the same.
(import "wasi:cli/stderr@0.2.0" "get-stderr" (func $stderr (result i32)))
(import "wasi:io/streams@0.2.0" "[method]output-stream.write" (func $write (param i32 i32 i32 i32)))
(data (i32.const 512) "\1b[2Jgoodbye")
(func $"\1b[2J\nsecond line" (unreachable))
(func $evaluate (param $p i32) (result i32)
  (call $write (call $stderr) (i32.const 512) (i32.const 11) (i32.const 192))
  (call $"\1b[2J\nsecond line") (unreachable))
