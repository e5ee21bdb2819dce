;; Answers about another volume.
(data (i32.const 512) "other")
(func $stat (type $stat)
  (i32.store8 (i32.const 4096) (i32.const 1))
  (call $volume (i32.const 4104) (i32.const 512) (i32.const 5) (i32.const 0))
  (call $list (i32.const 4096) (i32.const 1)))
