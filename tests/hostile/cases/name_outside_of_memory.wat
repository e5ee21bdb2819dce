;; Its name begins where its memory has long ended.
(func $more_of_description (i32.store (i32.const 224) (i32.const -64)))
