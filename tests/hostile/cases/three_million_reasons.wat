;; Gives three million reasons, all at the same place: more than may cross the border in one call.
(func $evaluate (param $p i32) (result i32)
  (call $give_back (local.get $p))
  (drop (memory.grow (i32.const 920)))
  (drop (call $scores (call $count (local.get $p)) (i32.const 1)))
  (i32.store (i32.const 140) (i32.const 131072)) (i32.store (i32.const 144) (i32.const 3000000))
  (i32.const 128))
