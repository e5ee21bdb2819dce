;; Lists a snapshot whose GUID clears the screen.
(data (i32.const 512) "one") (data (i32.const 640) "1\1b[2J")
(func $snapshots (type $snapshots)
  (call $taken (i32.const 40960) (i32.const 512) (i32.const 3) (i32.const 640) (i32.const 5))
  (call $list (i32.const 40960) (i32.const 1)))
