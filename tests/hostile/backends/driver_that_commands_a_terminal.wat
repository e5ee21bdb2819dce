;; Calls what it drives, and its pool, by names that clear the screen and turn text round.
(data $driver (i32.const 340) "a\1b[2J") (data $pool_name_shown (i32.const 512) "\e2\80\aepool\0a\c2\9b")
(func $describe_backend (type $look)
  (i32.store (i32.const 1404) (i32.const 340)) (i32.store (i32.const 1408) (i32.const 5))
  (i32.store (i32.const 1412) (i32.const 512)) (i32.store (i32.const 1416) (i32.const 10))
  (i32.const 1400))
