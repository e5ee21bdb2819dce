;; Claims that a newer epoch was seen, where none was.
(func $create (type $create) (drop (call $refuse (i32.const 16) (i32.const 3))) (i32.store (i32.const 1060) (i32.const 10)) (i32.const 1056))
