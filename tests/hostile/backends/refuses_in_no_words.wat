;; Refuses, in bytes that are no text.
(data (i32.const 512) "\ff\fe\c0")
(func $create (type $create) (call $refuse (i32.const 512) (i32.const 3)))
