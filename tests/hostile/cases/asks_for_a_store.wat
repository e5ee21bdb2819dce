;; Asks for a store of its own, which would end replay.
(import "flocker:plugin/kv@0.1.0" "keys" (func $keys (param i32 i32 i32 i32 i32 i32 i32)))
