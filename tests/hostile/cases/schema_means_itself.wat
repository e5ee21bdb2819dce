;; The schema of its settings says only that it is as itself, which never ends.
(data (i32.const 512) "{\22allOf\22:[{\22$ref\22:\22#\22}]}")
(func $more_of_description (i32.store (i32.const 240) (i32.const 512)) (i32.store (i32.const 244) (i32.const 24)))
