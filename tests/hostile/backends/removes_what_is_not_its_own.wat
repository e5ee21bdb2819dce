;; Removes a folder of the machine, and says what the host said.
(data (i32.const 512) "/etc")
(func $create (type $create) 
  (call $remove (i32.const 512) (i32.const 4) (i32.const 2656))
  (i32.const 2656))
