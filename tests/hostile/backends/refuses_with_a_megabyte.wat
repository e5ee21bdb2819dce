;; Refuses, in a megabyte of words.
(func $create (type $create) (memory.fill (i32.const 65536) (i32.const 97) (i32.const 1048576)) (call $refuse (i32.const 65536) (i32.const 1048576)))
