;; Answers, and breaks when the host tells it that the answer was read.
(func $read (param i32) (unreachable))
(export $read "cabi_post_flocker:plugin/placement@0.1.0#evaluate" (func $read))
