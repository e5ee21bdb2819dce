;; The schema of its settings is no JSON.
(data (i32.const 512) "{\22type\22: ")
(func $more_of_description (i32.store (i32.const 240) (i32.const 512)) (i32.store (i32.const 244) (i32.const 9)))
