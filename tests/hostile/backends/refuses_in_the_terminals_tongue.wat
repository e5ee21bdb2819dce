;; Refuses, in words that clear the screen, turn text round and pretend to be a line of the host's.
(data (i32.const 512) "no\1b[2J\1b]0;owned\07\e2\80\ae\e2\80\a8\0aINFO all is well\0d\c2\9b31m")
(func $create (type $create) (call $refuse (i32.const 512) (i32.const 48)))
