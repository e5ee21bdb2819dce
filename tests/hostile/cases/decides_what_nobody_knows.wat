;; Decides on a course of a number that nobody knows.
(func $decide (param $p i32) (result i32)
  (call $give_back (local.get $p))
  (memory.fill (i32.const 8192) (i32.const 0) (i32.const 64))
  (i32.store (i32.const 8192) (i32.const 4711))
  (call $list (i32.load offset=100 (local.get $p))))
