;; Asks for the texts of two hundred thousand numbers that it makes up: the host would note down every one.
(import "flocker:plugin/cluster@0.1.0" "[method]view.texts" (func $texts (param i32 i32 i32 i32)))
(func $evaluate (param $p i32) (result i32)
  (local $i i32)
  (drop (memory.grow (i32.const 13)))
  (loop $next
    (i32.store (i32.add (i32.const 131072) (i32.shl (local.get $i) (i32.const 2))) (local.get $i))
    (local.set $i (i32.add (local.get $i) (i32.const 1)))
    (br_if $next (i32.lt_u (local.get $i) (i32.const 200000))))
  (call $texts (i32.load offset=48 (local.get $p)) (i32.const 131072) (i32.const 200000) (i32.const 192))
  (unreachable))
