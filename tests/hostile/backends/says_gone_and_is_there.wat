;; Says that a volume is gone, and keeps it.
(func $destroy (type $change) (call $done))
