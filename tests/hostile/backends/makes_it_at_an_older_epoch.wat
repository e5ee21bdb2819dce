;; Makes a volume, and remembers an older epoch than the one it was made at.
(func $create (type $create) 
  (call $save (local.get 6) (local.get 7) (i32.const 0) (i64.sub (local.get 2) (i64.const 1)) (local.get 8))
  (call $done))
