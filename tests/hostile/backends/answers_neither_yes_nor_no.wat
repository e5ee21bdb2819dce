;; Answers neither that it was done nor why not.
(func $create (type $create) (drop (call $done)) (i32.store8 (i32.const 1024) (i32.const 7)) (i32.const 1024))
