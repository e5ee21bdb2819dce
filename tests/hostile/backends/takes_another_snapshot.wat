;; Takes a snapshot of another name than the one it was asked for.
(data (i32.const 512) "other")
(func $snapshot (type $snapshot)
  (call $taken (i32.const 40960) (i32.const 512) (i32.const 5) (i32.const 356) (i32.const 1))
  (call $list (i32.const 40960) (i32.const 1)))
