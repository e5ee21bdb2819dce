;; Says that its name has fifty million bytes, and has the memory for them.
(func $more_of_description
  (drop (memory.grow (i32.const 900)))
  (i32.store (i32.const 228) (i32.const 50000000)))
