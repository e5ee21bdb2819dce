;; Lists one snapshot twice.
(func $snapshots (type $snapshots)
  (call $taken (i32.const 16384) (i32.const 352) (i32.const 3) (i32.const 356) (i32.const 1))
  (call $taken (i32.const 16424) (i32.const 352) (i32.const 3) (i32.const 356) (i32.const 1))
  (call $list (i32.const 16384) (i32.const 2)))
