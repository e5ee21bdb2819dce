;; Asks for the web by way of WASI.
(import "wasi:http/outgoing@0.2.0" "handle" (func $handle (param i32 i32) (result i32)))
