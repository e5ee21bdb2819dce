;; The schema of its settings is to be fetched from a server.
(data (i32.const 512) "{\22$ref\22:\22http://127.0.0.1:9/schema.json\22}")
(func $more_of_description (i32.store (i32.const 240) (i32.const 512)) (i32.store (i32.const 244) (i32.const 41)))
