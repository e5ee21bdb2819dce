//! Another build of a plugin: tried out beside the present one, compared, and swapped in or not.

use std::{fs, time::Duration};

use flocker_model::Timestamp;
use flocker_planner::DecidedBy;
use flocker_plugins::{
    Configured, Health, Mode, Reloaded, SHADOW_DECISIONS, SHADOW_FOR, TrialInfo,
};

use crate::{
    forge::{DROP_VIEW, Forge},
    modes::{load, prefers, trap},
    world::{World, view},
};

/// A plugin that prefers `b`, and another build in its file.
fn upgraded(to: &Forge) -> (World, Configured) {
    let world = World::new();
    let plugin = load(&world, "p.wasm", &prefers(1), Mode::Active);
    world.file("p.wasm", &to.build());
    assert_eq!(world.host.reload(&plugin, view().now).unwrap(), Reloaded::Waiting);
    (world, plugin)
}

fn trial(world: &World) -> Option<TrialInfo> {
    world.host.list()[0].trial.clone()
}

fn chosen(world: &World) -> String {
    world.decide().chosen.unwrap().to_string()
}

/// What `prefers(2)` does, but in shadow only: where it counts, it traps.
fn traps_when_it_counts() -> Forge {
    let counts = "(i32.eqz (i32.load8_u offset=32 (local.get $p)))";
    let body = prefers(2).evaluate;
    Forge::evaluating(format!("(if {counts} (then (unreachable))) {body}"))
}

/// What `prefers(1)` does, but in shadow it traps.
fn traps_in_shadow() -> Forge {
    let shadow = "(i32.load8_u offset=32 (local.get $p))";
    let body = prefers(1).evaluate;
    Forge::evaluating(format!("(if {shadow} (then (unreachable))) {body}"))
}

#[test]
fn another_build_is_asked_in_shadow_first_and_then_takes_the_place_of_the_one_before() {
    let (world, _) = upgraded(&prefers(2));
    for asked in 0..SHADOW_DECISIONS {
        let trial = trial(&world).unwrap();
        assert_eq!((trial.decisions, trial.disagreements, trial.failed), (asked, asked, None));
        // The same once more, as of an app that waits, is nothing new.
        for app in [asked.saturating_sub(1), asked] {
            let decision = world.decide_about(&format!("app-{app}"));
            assert_eq!(decision.chosen.as_ref().unwrap().as_str(), "b");
            assert!(decision.to_string().contains("(shadow) would choose `c`"), "{decision}");
        }
    }

    assert_eq!(trial(&world), None);
    assert_eq!(chosen(&world), "c");
    assert_eq!(world.host.list().len(), 1);
}

#[test]
fn a_build_that_agrees_is_told_from_one_that_does_not() {
    // The same answer from another file.
    let same = Forge { fields: "(global $other i32 (i32.const 1))".into(), ..prefers(1) };
    let (world, _) = upgraded(&same);
    world.decide();
    let trial = trial(&world).unwrap();
    assert_eq!((trial.decisions, trial.disagreements), (1, 0));
}

#[test]
fn in_a_quiet_cluster_its_time_comes_all_the_same() {
    let (world, _) = upgraded(&prefers(2));
    let almost = Timestamp(trial(&world).unwrap().until.0 - 1);
    world.host.settle(almost);
    assert!(trial(&world).is_some());

    world.host.settle(view().now + SHADOW_FOR);

    assert_eq!(trial(&world), None);
    assert_eq!(chosen(&world), "c");
}

#[test]
fn the_first_question_after_its_time_is_put_to_it_alone() {
    let (world, _) = upgraded(&prefers(2));
    let decision = world.decide_at(view().now + SHADOW_FOR);
    assert_eq!((decision.chosen.unwrap().as_str(), decision.shadows.len()), ("c", 0));
}

#[test]
fn a_build_that_fails_in_shadow_never_counts_and_the_operator_reads_why() {
    let (world, plugin) = upgraded(&traps_in_shadow());

    assert_eq!(chosen(&world), "b");
    let failed = trial(&world).unwrap().failed.unwrap();
    assert_eq!(failed.class, "trap");
    for _ in 0..2 * SHADOW_DECISIONS {
        assert_eq!(chosen(&world), "b");
    }
    world.host.settle(view().now + 2 * SHADOW_FOR);
    assert_eq!(chosen(&world), "b");
    let asked = trial(&world).unwrap();
    assert_eq!((asked.decisions, asked.failed.is_some()), (1, true), "it is left alone");
    // Who insists may try again, and who thinks better of it is rid of it.
    assert_eq!(world.host.reload(&plugin, view().now).unwrap(), Reloaded::Waiting);
    assert_eq!(trial(&world).unwrap().failed, None);
    world.file("p.wasm", &prefers(1).build());
    assert_eq!(world.host.reload(&plugin, view().now).unwrap(), Reloaded::Unchanged);
    assert_eq!(trial(&world), None);
}

#[test]
fn being_told_twice_does_not_begin_again() {
    let (world, plugin) = upgraded(&prefers(2));
    world.decide();
    assert_eq!(world.host.reload(&plugin, view().now).unwrap(), Reloaded::Waiting);
    assert_eq!(trial(&world).unwrap().decisions, 1);
}

#[test]
fn where_nobody_listens_anyway_it_is_swapped_at_once() {
    for mode in [Mode::Shadow, Mode::Off] {
        let world = World::new();
        let plugin = load(&world, "p.wasm", &prefers(1), mode);
        let former = world.host.list()[0].loaded.digest.clone();
        world.file("p.wasm", &prefers(2).build());
        let reloaded = world.host.reload(&plugin, view().now).unwrap();
        assert_eq!(reloaded, Reloaded::Replaced { former });
    }
}

#[test]
fn a_build_that_cannot_be_loaded_changes_nothing() {
    let world = World::new();
    let plugin = load(&world, "p.wasm", &prefers(1), Mode::Active);
    let broken = Forge { configure: "(unreachable)".into(), ..Forge::healthy() };
    for (bytes, why) in [(b"not wasm".to_vec(), "not WebAssembly"), (broken.build(), "configured")]
    {
        world.file("p.wasm", &bytes);
        world.host.reload(&plugin, view().now).unwrap_err();
        assert_eq!(chosen(&world), "b");
        let refused = world.host.list()[0].refused.clone().unwrap();
        assert!(refused.contains(why), "{refused}");
    }
    fs::remove_file(&plugin.path).unwrap();
    world.host.reload(&plugin, view().now).unwrap_err();
    assert_eq!(chosen(&world), "b");
    world.file("p.wasm", &prefers(1).build());
    assert_eq!(world.host.reload(&plugin, view().now).unwrap(), Reloaded::Unchanged);
    assert_eq!(world.host.list()[0].refused, None);
}

#[test]
fn a_file_that_is_not_loaded_cannot_be_replaced() {
    let world = World::new();
    let path = world.file("p.wasm", &Forge::healthy().build());
    let refused = world.host.reload(&Configured::new(&path), view().now).unwrap_err().to_string();
    assert!(refused.contains("none to replace"), "{refused}");
}

#[test]
fn after_an_upgrade_that_keeps_failing_the_build_before_decides_also_while_it_is_probed() {
    let (world, _) = upgraded(&traps_when_it_counts());
    let now = view().now + SHADOW_FOR;
    for _ in 0..5 {
        assert_eq!(world.decide_at(now).decided_by, DecidedBy::BuiltIn);
    }

    for now in [now, now + Duration::from_mins(1)] {
        let decision = world.decide_at(now);
        assert_eq!(decision.decided_by, DecidedBy::Policies, "{decision}");
        assert_eq!((decision.chosen.unwrap().as_str(), decision.failures.len()), ("b", 0));
    }
    // The second of these was a probe. It answered, so it is trusted again.
    let info = &world.host.list()[0];
    assert_eq!((info.calls, info.health), (6, Health::Good));
}

#[test]
fn a_probe_that_fails_leaves_the_build_before_in_charge() {
    let (world, _) = upgraded(&trap());
    // Nothing was asked meanwhile, so nobody noticed.
    let now = view().now + SHADOW_FOR;
    for _ in 0..5 {
        assert_eq!(world.decide_at(now).decided_by, DecidedBy::BuiltIn);
    }
    let mut later = now;
    for n in 0..4 {
        later = later + Duration::from_mins(10);
        let decision = world.decide_at(later);
        assert_eq!(decision.chosen.as_ref().unwrap().as_str(), "b", "{decision}");
        assert!(decision.to_string().contains("(shadow) failed (trap)"), "{decision}");
        let info = &world.host.list()[0];
        assert!(matches!(info.health, Health::Quarantined { .. }), "{info:?}");
        assert_eq!(info.calls, 6 + n);
    }
}

#[test]
fn a_new_build_with_nothing_beside_it_is_compared_with_what_is_decided_without_it() {
    let world = World::new();
    let silent = Forge::evaluating(format!("{DROP_VIEW} (unreachable)"));
    let plugin = load(&world, "p.wasm", &silent, Mode::Active);
    world.file("p.wasm", &prefers(2).build());
    world.host.reload(&plugin, view().now).unwrap();

    assert_eq!(world.decide().decided_by, DecidedBy::BuiltIn);

    let trial = trial(&world).unwrap();
    assert_eq!((trial.decisions, trial.disagreements), (1, 1));
}
