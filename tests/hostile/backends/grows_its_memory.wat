;; Takes all memory that there is.
(func $create (type $create) (drop (memory.grow (i32.const 2000))) (call $done))
