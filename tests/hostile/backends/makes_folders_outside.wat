;; Makes a folder outside of the granted directory, and says what the host said.
(data (i32.const 512) "/pool/../../etc/owned")
(func $create (type $create) 
  (call $make (i32.const 512) (i32.const 21) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 2656))
  (i32.const 2656))
