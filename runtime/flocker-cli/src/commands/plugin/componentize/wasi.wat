;; Stands in for `wasi_snapshot_preview1` where a core module is made a component. What the module prints goes to the
;; node's log, randomness follows the decision's seed, the clock only counts; there are no arguments, variables or files.
;; The usual adapter would take memory while the module starts, which Go's runtime does not bear; this one has none of its
;; own.
(module
  (import "flocker:plugin/log@0.1.0" "write" (func $log (param i32 i32 i32 i32 i32)))
  (import "wasi:random/random@0.2.0" "get-random-u64" (func $random (result i64)))
  (import "env" "memory" (memory 0))
  (global $clock (mut i64) (i64.const 1))

  (func $none (param $count i32) (param $bytes i32) (result i32)
    (i32.store (local.get $count) (i32.const 0))
    (i32.store (local.get $bytes) (i32.const 0))
    (i32.const 0))
  (func (export "args_sizes_get") (param i32 i32) (result i32) (call $none (local.get 0) (local.get 1)))
  (func (export "environ_sizes_get") (param i32 i32) (result i32) (call $none (local.get 0) (local.get 1)))
  (func (export "args_get") (param i32 i32) (result i32) (i32.const 0))
  (func (export "environ_get") (param i32 i32) (result i32) (i32.const 0))

  (func (export "sched_yield") (result i32) (i32.const 0))
  (func (export "proc_exit") (param i32) unreachable)

  ;; It only counts, from 1: Go's runtime looks at it while the host has it allocate memory, when nothing of the host may be
  ;; called, and takes 0 for a clock that is broken.
  (func (export "clock_time_get") (param $id i32) (param $precision i64) (param $out i32) (result i32)
    (global.set $clock (i64.add (global.get $clock) (i64.const 1000)))
    (i64.store (local.get $out) (global.get $clock))
    (i32.const 0))
  (func (export "clock_res_get") (param $id i32) (param $out i32) (result i32)
    (i64.store (local.get $out) (i64.const 1000000))
    (i32.const 0))

  (func (export "random_get") (param $at i32) (param $left i32) (result i32)
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $left)))
        (i32.store8 (local.get $at) (i32.wrap_i64 (call $random)))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br $next)))
    (i32.const 0))

  ;; One line of the log for what is written at once: 2 is an error, 4 in the log; anything else is information.
  (func $say (param $fd i32) (param $at i32) (param $length i32)
    (if (i32.eqz (local.get $length)) (then (return)))
    (if (i32.eq (i32.load8_u (i32.add (local.get $at) (i32.sub (local.get $length) (i32.const 1)))) (i32.const 10))
      (then (local.set $length (i32.sub (local.get $length) (i32.const 1)))))
    (if (i32.eqz (local.get $length)) (then (return)))
    (call $log
      (select (i32.const 4) (i32.const 2) (i32.eq (local.get $fd) (i32.const 2)))
      (local.get $at) (local.get $length) (i32.const 0) (i32.const 0)))
  (func (export "fd_write") (param $fd i32) (param $parts i32) (param $n i32) (param $out i32) (result i32)
    (local $sum i32)
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $n)))
        (call $say (local.get $fd) (i32.load (local.get $parts)) (i32.load offset=4 (local.get $parts)))
        (local.set $sum (i32.add (local.get $sum) (i32.load offset=4 (local.get $parts))))
        (local.set $parts (i32.add (local.get $parts) (i32.const 8)))
        (local.set $n (i32.sub (local.get $n) (i32.const 1)))
        (br $next)))
    (i32.store (local.get $out) (local.get $sum))
    (i32.const 0))

  ;; 8: there is no such file; 52: there is no such thing.
  (func (export "fd_close") (param i32) (result i32) (i32.const 8))
  (func (export "fd_fdstat_get") (param i32 i32) (result i32) (i32.const 8))
  (func (export "fd_fdstat_set_flags") (param i32 i32) (result i32) (i32.const 8))
  (func (export "fd_filestat_get") (param i32 i32) (result i32) (i32.const 8))
  (func (export "fd_prestat_get") (param i32 i32) (result i32) (i32.const 8))
  (func (export "fd_prestat_dir_name") (param i32 i32 i32) (result i32) (i32.const 8))
  (func (export "fd_read") (param i32 i32 i32 i32) (result i32) (i32.const 8))
  (func (export "fd_pread") (param i32 i32 i32 i64 i32) (result i32) (i32.const 8))
  (func (export "fd_seek") (param i32 i64 i32 i32) (result i32) (i32.const 8))

  ;; Whoever sleeps is awake at once, and finds that the time has passed.
  (func (export "poll_oneoff") (param $asked i32) (param $events i32) (param $n i32) (param $count i32) (result i32)
    (if (i32.or (i32.eqz (local.get $n)) (i32.load8_u offset=8 (local.get $asked))) (then (return (i32.const 52))))
    (global.set $clock (i64.add (global.get $clock) (i64.load offset=24 (local.get $asked))))
    (i64.store (local.get $events) (i64.load (local.get $asked)))
    (i64.store offset=8 (local.get $events) (i64.const 0))
    (i64.store offset=16 (local.get $events) (i64.const 0))
    (i64.store offset=24 (local.get $events) (i64.const 0))
    (i32.store (local.get $count) (i32.const 1))
    (i32.const 0)))
