;; Gives a reason that clears the screen, turns text round and pretends to be a second line of the host's.
(data (i32.const 528) "\1b[2J\1b]0;owned\07\e2\80\aeok\e2\80\a8\nnode n1: 10000 (spread)\r\c2\9b31m")
(func $evaluate (param $p i32) (result i32)
  (call $give_back (local.get $p))
  (drop (call $scores (call $count (local.get $p)) (i32.const 5000)))
  (i32.store (i32.const 512) (i32.load (i32.load offset=160 (local.get $p))))
  (i32.store (i32.const 520) (i32.const 528)) (i32.store (i32.const 524) (i32.const 56))
  (i32.store (i32.const 140) (i32.const 512)) (i32.store (i32.const 144) (i32.const 1))
  (i32.const 128))
