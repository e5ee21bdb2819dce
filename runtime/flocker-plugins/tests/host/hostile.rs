//! Limits that have to be set apart for a test, and what many calls do. What single plugins do stands in `corpus.rs`.

use std::time::{Duration, Instant};

use flocker_model::Timestamp;
use flocker_planner::DecidedBy;
use flocker_plugins::{Health, Limits};

use crate::{
    forge::{ANSWER, COUNT, DROP_VIEW, Forge, fill},
    world::{World, configured},
};

/// Alone, the hostile plugin leaves the decision to the built-in policy; beside a healthy one, it changes nothing.
/// Asked twice, as a plugin that trapped once must not poison the next call.
#[track_caller]
fn contained(plugin: &Forge, class: &str, message: &str) {
    let world = World::new();
    world.load("hostile.wasm", plugin);
    for _ in 0..2 {
        let decision = world.decide();
        assert_eq!(decision.decided_by, DecidedBy::BuiltIn);
        assert_eq!(decision.chosen.unwrap().as_str(), "a");
        let failure = &decision.failures[0].failure;
        assert_eq!(failure.class, class, "{}", failure.message);
        assert!(failure.message.contains(message), "{}", failure.message);
    }
    let info = &world.host.list()[0];
    assert_eq!((info.health, info.failures), (Health::Failing, 2));

    world.load("healthy.wasm", &Forge::healthy());
    let decision = world.decide();
    assert_eq!(decision.decided_by, DecidedBy::Policies);
    assert!(decision.candidates.iter().all(|c| c.score == Some(5000)));
    assert_eq!(decision.failures.len(), 1);
}

#[test]
fn a_trap_is_a_failure() {
    contained(&Forge::evaluating("(unreachable)"), "trap", "unreachable");
}

#[test]
fn too_few_scores_are_not_guessed_at() {
    let short = format!("{DROP_VIEW} (local.set $n (i32.const 2)) {} {ANSWER}", fill(1));
    contained(&Forge::evaluating(short), "invalid-answer", "2 scores for 3 candidates");
}

#[test]
fn wall_clock_ends_what_fuel_does_not() {
    let limits = Limits { fuel: u64::MAX, wall: Duration::from_millis(100), ..Limits::default() };
    let world = World::with(limits);
    world.load("slow.wasm", &Forge::evaluating("(loop $l (br $l)) (unreachable)"));

    let began = Instant::now();
    let decision = world.decide();

    assert_eq!(decision.failures[0].failure.class, "timeout");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn metrics_of_made_up_names_do_not_pile_up() {
    // counter-add(name ptr, len, value): 200 names, as bytes of its memory from address 256 on.
    let flood = format!(
        "{DROP_VIEW} (loop $l
           (i32.store (i32.const 256) (i32.add (i32.const 0x30303030) (local.get $i)))
           (call $add (i32.const 256) (i32.const 4) (i64.const 1))
           (local.set $i (i32.add (local.get $i) (i32.const 1)))
           (br_if $l (i32.lt_u (local.get $i) (i32.const 70))))
         (local.set $i (i32.const 0)) {COUNT} {} {ANSWER}",
        fill(1)
    );
    let imports =
        r#"(import "flocker:plugin/metrics@0.1.0" "counter-add" (func $add (param i32 i32 i64)))"#;
    let world = World::new();
    world.load("counting.wasm", &Forge { imports: imports.into(), ..Forge::evaluating(flood) });

    assert!(world.decide().failures.is_empty());
    assert_eq!(world.host.list()[0].metrics.len(), 64);
}

#[test]
fn five_failures_open_the_breaker_and_a_probe_in_shadow_closes_it() {
    // Fails whenever the seconds of its clock are even; the clock is the view's.
    let moody = format!(
        "(if (i64.eqz (i64.rem_u (i64.load offset=8 (local.get $p)) (i64.const 2000))) (then (unreachable)))
         {DROP_VIEW} {COUNT} {} {ANSWER}",
        fill(7000)
    );
    let world = World::new();
    world.load("moody.wasm", &Forge::evaluating(moody));
    for second in 0..5 {
        let decision = world.decide_at(Timestamp(100_000 + second * 2000));
        assert_eq!(decision.failures[0].failure.class, "trap");
    }

    let left_alone = world.decide_at(Timestamp(111_000));
    assert_eq!(left_alone.failures[0].failure.class, "quarantined");
    assert_eq!(world.host.list()[0].calls, 5);
    assert_eq!(world.host.list()[0].health, Health::Quarantined { until: Timestamp(138_000) });

    let probed = world.decide_at(Timestamp(139_000));
    assert_eq!(probed.decided_by, DecidedBy::BuiltIn);
    assert!(probed.failures[0].failure.message.contains("answers again"), "{probed}");

    let back = world.decide_at(Timestamp(141_000));
    assert_eq!(back.decided_by, DecidedBy::Policies);
    assert_eq!(world.host.list()[0].health, Health::Good);
}

#[test]
fn a_plugin_that_keeps_growing_starts_over_with_a_fresh_instance() {
    let limits = Limits { calls_per_instance: 3, ..Limits::default() };
    let world = World::with(limits);
    // Grows by 16 MiB per call: four calls in one instance would be too many.
    let grow =
        format!("(drop (memory.grow (i32.const 256))) {DROP_VIEW} {COUNT} {} {ANSWER}", fill(1));
    world.load("growing.wasm", &Forge::evaluating(grow));
    for _ in 0..12 {
        assert!(world.decide().failures.is_empty());
    }
}

/// Whoever opens or reads a pipe waits for somebody at its other end.
#[test]
fn what_is_no_file_is_refused_at_once() {
    let world = World::new();
    let pipe = world.file("pipe.wasm", b"");
    std::fs::remove_file(&pipe).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();

    let said = world.host.load(&configured(&pipe, "", 1)).unwrap_err().to_string();

    assert!(said.contains("pipe.wasm") && said.contains("not a regular file"), "{said}");
}
