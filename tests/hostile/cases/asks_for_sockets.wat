;; Asks for the network by way of WASI.
(import "wasi:sockets/instance-network@0.2.0" "instance-network" (func $network (result i32)))
