;; The schema of its settings is to be read from a file of the host.
(data (i32.const 512) "{\22$ref\22:\22file:///etc/passwd\22}")
(func $more_of_description (i32.store (i32.const 240) (i32.const 512)) (i32.store (i32.const 244) (i32.const 29)))
