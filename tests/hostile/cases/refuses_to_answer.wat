;; Answers with an error of a code that nobody knows, wants to be asked again in 49 days, and shouts in colours.
(data (i32.const 512) "\1b[1mno\nway")
(func $evaluate (param $p i32) (result i32)
  (call $give_back (local.get $p))
  (i32.store8 (i32.const 128) (i32.const 1)) (i32.store (i32.const 132) (i32.const 0xffffffff))
  (i32.store (i32.const 136) (i32.const 512)) (i32.store (i32.const 140) (i32.const 10))
  (i32.store8 (i32.const 144) (i32.const 1)) (i32.store (i32.const 148) (i32.const 0xffffffff))
  (i32.const 128))
