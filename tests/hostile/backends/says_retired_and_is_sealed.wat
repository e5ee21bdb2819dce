;; Says that a volume is a replica, and leaves it sealed.
(func $retire (type $at) (call $done))
