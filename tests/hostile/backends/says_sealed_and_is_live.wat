;; Says that a volume is sealed, and leaves it live.
(func $seal (type $change) (call $done))
