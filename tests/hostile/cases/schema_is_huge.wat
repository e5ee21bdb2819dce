;; The schema of its settings has a megabyte of blanks.
(func $more_of_description
  (drop (memory.grow (i32.const 20)))
  (memory.fill (i32.const 131072) (i32.const 32) (i32.const 1000000))
  (i32.store8 (i32.const 131072) (i32.const 123)) (i32.store8 (i32.const 1131071) (i32.const 125))
  (i32.store (i32.const 240) (i32.const 131072)) (i32.store (i32.const 244) (i32.const 1000000)))
