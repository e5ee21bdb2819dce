;; Says that it took snapshots, and shows none.
(func $snapshot (type $snapshot) (call $list (i32.const 40960) (i32.const 0)))
