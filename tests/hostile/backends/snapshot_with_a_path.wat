;; Lists a snapshot whose name is a path.
(data (i32.const 512) "../one") (data (i32.const 640) "1")
(func $snapshots (type $snapshots)
  (call $taken (i32.const 40960) (i32.const 512) (i32.const 6) (i32.const 640) (i32.const 1))
  (call $list (i32.const 40960) (i32.const 1)))
