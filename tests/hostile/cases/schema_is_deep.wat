;; The schema of its settings is a list in a list in a list, twenty thousand times.
(func $more_of_description
  (memory.fill (i32.const 16384) (i32.const 91) (i32.const 20000))
  (memory.fill (i32.const 36384) (i32.const 93) (i32.const 20000))
  (i32.store (i32.const 240) (i32.const 16384)) (i32.store (i32.const 244) (i32.const 40000)))
