;; A policy that answers every question of every hook as a healthy one would: 5000 points for each candidate, no moves,
;; nothing due, nothing removed, and a second's patience with a silent node. A case replaces fields by their names.
;;
;; Memory: 16 its name, 128, 192 and 224 results, 512 texts of a case, 8192 lists of answers, 65536 and up what the host
;; hands over.

(import "flocker:plugin/cluster@0.1.0" "[resource-drop]view" (func $drop (param i32)))

(memory $memory (export "memory") 2)
(data $name (i32.const 16) "{name}")
(global $name_len i32 (i32.const {name_len}))
(data $version (i32.const 112) "1.2.3")

(global $top (mut i32) (i32.const 65536))
(func $realloc (param $old i32) (param $old_len i32) (param $align i32) (param $len i32) (result i32)
  (local $p i32)
  (local.set $p (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
  (global.set $top (i32.add (local.get $p) (local.get $len)))
  (if (i32.gt_u (global.get $top) (i32.const 120000)) (then (global.set $top (i32.const 65536))))
  (local.get $p))
(export $realloc "cabi_realloc" (func $realloc))

(func $describe (result i32)
  (i32.store (i32.const 224) (i32.const 16)) (i32.store (i32.const 228) (global.get $name_len))
  (i32.store (i32.const 232) (i32.const 112)) (i32.store (i32.const 236) (i32.const 5))
  (call $more_of_description)
  (i32.const 224))
;; Addresses 240 and 244: the schema of its settings.
(func $more_of_description)
(export $describe "flocker:plugin/lifecycle@0.1.0#describe" (func $describe))

(func $configure (param $settings i32) (param $settings_len i32) (result i32)
  (i32.store8 (i32.const 128) (i32.const 0)) (i32.const 128))
(export $configure "flocker:plugin/lifecycle@0.1.0#configure" (func $configure))

;; Of the arguments: 8 now-ms, 16 seed, 32 shadow, 48 the view, 160 and 164 the candidates.
(func $evaluate (param $p i32) (result i32)
  (call $give_back (local.get $p))
  (call $scores (call $count (local.get $p)) (i32.const 5000)))
(export $evaluate "flocker:plugin/placement@0.1.0#evaluate" (func $evaluate))

(func $plan (param $id i32) (param $id_len i32) (param $now i64) (param $seed i64) (param $generation i64)
    (param $shadow i32) (param $attrs i32) (param $n_attrs i32) (param $view i32)
    (param $movable i32) (param $n_movable i32) (param $max_moves i32) (result i32)
  (call $drop (local.get $view))
  (call $moves (i32.const 0)))
(export $plan "flocker:plugin/rebalance@0.1.0#plan" (func $plan))

(func $next (param $id i32) (param $id_len i32) (param $now i64) (param $seed i64) (param $generation i64)
    (param $shadow i32) (param $attrs i32) (param $n_attrs i32) (param $view i32)
    (param $volumes i32) (param $n_volumes i32) (param $horizon i64) (result i32)
  (call $drop (local.get $view))
  (call $schedule (i32.const 0) (i64.const 60000)))
(export $next "flocker:plugin/backup-schedule@0.1.0#next" (func $next))

(func $prune (param $id i32) (param $id_len i32) (param $now i64) (param $seed i64) (param $generation i64)
    (param $shadow i32) (param $attrs i32) (param $n_attrs i32) (param $view i32)
    (param $volume i32) (param $lane i32) (param $lane_len i32) (param $copies i32) (param $n_copies i32) (result i32)
  (call $drop (local.get $view))
  (call $list (i32.const 0)))
(export $prune "flocker:plugin/backup-schedule@0.1.0#prune" (func $prune))

;; Of the arguments: 48 the view, 96 and 100 the volumes. An entry that is all zeros waits for no time at all.
(func $decide (param $p i32) (result i32)
  (call $give_back (local.get $p))
  (call $list (i32.load offset=100 (local.get $p))))
(export $decide "flocker:plugin/failover@0.1.0#decide" (func $decide))

;; Ends the loan of the view, where the arguments stand in memory.
(func $give_back (param $p i32) (call $drop (i32.load offset=48 (local.get $p))))
;; How many candidates there are.
(func $count (param $p i32) (result i32) (i32.load offset=164 (local.get $p)))
;; "ok": so many equal scores.
(func $scores (param $n i32) (param $score i32) (result i32)
  (local $i i32)
  (block $done (loop $next
    (br_if $done (i32.ge_u (local.get $i) (local.get $n)))
    (i32.store (i32.add (i32.const 8192) (i32.shl (local.get $i) (i32.const 2))) (local.get $score))
    (local.set $i (i32.add (local.get $i) (i32.const 1)))
    (br $next)))
  (call $list (local.get $n)))
;; "ok": a list of so many entries that stand at 8192.
(func $list (param $n i32) (result i32)
  (i32.store8 (i32.const 128) (i32.const 0))
  (i32.store (i32.const 132) (i32.const 8192)) (i32.store (i32.const 136) (local.get $n))
  (i32.const 128))
;; The same, for `plan`. An entry: 0 app, 4 target, 8 gain, 16 and 20 the reason.
(func $moves (param $n i32) (result i32) (call $list (local.get $n)))
;; "ok": so many things are due. An entry: 0 volume, 8 at-ms, 16 and 20 the lane, 24 and 28 the label.
(func $schedule (param $n i32) (param $again i64) (result i32)
  (i32.store8 (i32.const 192) (i32.const 0))
  (i32.store (i32.const 200) (i32.const 8192)) (i32.store (i32.const 204) (local.get $n))
  (i64.store (i32.const 208) (local.get $again))
  (i32.const 192))
