;; Says that it made a volume, and made none.
(func $create (type $create) (call $done))
