;; Its name is no UTF-8.
(data $name (i32.const 16) "\ff\fe\fd")
