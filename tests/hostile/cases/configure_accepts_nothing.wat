;; Finds fault with all settings, in words that would colour a terminal.
(data (i32.const 512) "never\n\1b[31mgood enough")
(func $configure (param i32 i32) (result i32)
  (i32.store8 (i32.const 128) (i32.const 1)) (i32.store (i32.const 132) (i32.const 1))
  (i32.store (i32.const 136) (i32.const 512)) (i32.store (i32.const 140) (i32.const 22))
  (i32.const 128))
