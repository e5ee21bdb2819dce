;; The schema of its settings has a short pattern that stands for a billion letters.
(data (i32.const 512) "{\22properties\22:{\22a\22:{\22pattern\22:\22(((a{1000}){1000}){1000}){1000}\22}}}")
(func $more_of_description (i32.store (i32.const 240) (i32.const 512)) (i32.store (i32.const 244) (i32.const 66)))
