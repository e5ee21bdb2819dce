;; Reads where its memory has ended.
(func $evaluate (param $p i32) (result i32) (i32.load (i32.const -4)))
