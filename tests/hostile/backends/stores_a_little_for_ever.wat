;; Stores something under a new key again and again, and says what the host said in the end.
(func $create (type $create) 
  (local $i i32)
  (loop $next
    (local.set $i (i32.add (local.get $i) (i32.const 1)))
    (i32.store (i32.const 512) (i32.add (i32.const 0x41414141) (local.get $i)))
    (call $kv_swap (i32.const 512) (i32.const 4) (i32.const 0) (i32.const 0) (i32.const 0)
      (i32.const 1) (i32.const 65536) (i32.const 300000) (i32.const 2592))
    (br_if $next (i32.eqz (i32.load8_u (i32.const 2592)))))
  (i32.const 2592))
