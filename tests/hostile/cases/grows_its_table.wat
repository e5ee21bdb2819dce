;; Grows a table to a hundred thousand entries.
(table $t 1 funcref)
(func $evaluate (param $p i32) (result i32)
  (drop (table.grow $t (ref.null func) (i32.const 100000)))
  (call $give_back (local.get $p))
  (call $scores (call $count (local.get $p)) (i32.const 5000)))
