//! Plugins that are only tried out, that are off, and that are replaced by another build.

use std::fs;

use flocker_model::Timestamp;
use flocker_planner::DecidedBy;
use flocker_plugins::{Configured, Health, Mode, Reloaded};

use crate::{
    forge::{ANSWER, COUNT, DROP_VIEW, Forge},
    world::{World, configured, view},
};

/// Gives the candidate in this position 9000 points and the others none.
fn prefers(position: u32) -> Forge {
    let address = 4096 + 4 * position;
    let scores = format!("(i32.store (i32.const {address}) (i32.const 9000))");
    Forge::evaluating(format!("{DROP_VIEW} {COUNT} {scores} {ANSWER}"))
}

fn trap() -> Forge {
    Forge::evaluating("(unreachable)")
}

fn load(world: &World, name: &str, plugin: &Forge, mode: Mode) -> Configured {
    let path = world.file(name, &plugin.build());
    let configured = Configured { mode, ..configured(&path, "", 1) };
    world.host.load(&configured).unwrap();
    configured
}

#[test]
fn a_plugin_in_shadow_is_asked_and_not_obeyed() {
    let world = World::new();
    load(&world, "active.wasm", &prefers(1), Mode::Active);
    load(&world, "same.wasm", &prefers(1), Mode::Shadow);
    load(&world, "other.wasm", &prefers(2), Mode::Shadow);
    load(&world, "broken.wasm", &trap(), Mode::Shadow);

    let decision = world.decide();

    assert_eq!(decision.chosen.as_ref().unwrap().as_str(), "b");
    assert_eq!((decision.decided_by, decision.failures.len()), (DecidedBy::Policies, 0));
    let text = decision.to_string();
    assert!(text.contains("(shadow) would choose `b`"), "{text}");
    assert!(text.contains("(shadow) would choose `c`"), "{text}");
    assert!(text.contains("(shadow) failed (trap)"), "{text}");
    let counted: Vec<_> =
        world.host.list().iter().map(|p| (p.mode, p.calls, p.disagreements)).collect();
    assert_eq!(
        counted,
        [(Mode::Active, 1, 0), (Mode::Shadow, 1, 0), (Mode::Shadow, 1, 1), (Mode::Shadow, 1, 0)]
    );
}

#[test]
fn alone_in_shadow_it_leaves_the_decision_to_the_built_in_policy() {
    let world = World::new();
    load(&world, "other.wasm", &prefers(2), Mode::Shadow);

    let decision = world.decide();

    assert_eq!(decision.decided_by, DecidedBy::BuiltIn);
    assert_eq!(decision.chosen.unwrap().as_str(), "a");
    assert_eq!(world.host.list()[0].disagreements, 1);
}

#[test]
fn a_plugin_that_is_off_is_not_asked() {
    let world = World::new();
    load(&world, "off.wasm", &prefers(2), Mode::Off);

    assert_eq!(world.decide().decided_by, DecidedBy::BuiltIn);
    assert_eq!(world.host.list()[0].calls, 0);
}

#[test]
fn another_build_takes_the_place_of_the_one_before() {
    let world = World::new();
    let plugin = load(&world, "p.wasm", &prefers(1), Mode::Active);
    assert_eq!(world.host.reload(&plugin).unwrap(), Reloaded::Unchanged);
    let former = world.host.list()[0].loaded.digest.clone();

    world.file("p.wasm", &prefers(2).build());
    assert_eq!(world.host.reload(&plugin).unwrap(), Reloaded::Replaced { former });

    assert_eq!(world.decide().chosen.unwrap().as_str(), "c");
    assert_eq!(world.host.list().len(), 1);
}

#[test]
fn a_build_that_cannot_be_loaded_changes_nothing() {
    let world = World::new();
    let plugin = load(&world, "p.wasm", &prefers(1), Mode::Active);
    let broken = Forge { configure: "(unreachable)".into(), ..Forge::healthy() };
    for bytes in [b"not wasm".to_vec(), broken.build()] {
        world.file("p.wasm", &bytes);
        world.host.reload(&plugin).unwrap_err();
        assert_eq!(world.decide().chosen.unwrap().as_str(), "b");
    }
    fs::remove_file(&plugin.path).unwrap();
    world.host.reload(&plugin).unwrap_err();
    assert_eq!(world.decide().chosen.unwrap().as_str(), "b");
}

#[test]
fn a_file_that_is_not_loaded_cannot_be_replaced() {
    let world = World::new();
    let path = world.file("p.wasm", &Forge::healthy().build());
    let refused = world.host.reload(&configured(&path, "", 1)).unwrap_err().to_string();
    assert!(refused.contains("none to replace"), "{refused}");
}

#[test]
fn after_an_upgrade_that_keeps_failing_the_build_before_decides() {
    let world = World::new();
    let plugin = load(&world, "p.wasm", &prefers(1), Mode::Active);
    world.file("p.wasm", &trap().build());
    world.host.reload(&plugin).unwrap();

    let now = view().now;
    for _ in 0..5 {
        assert_eq!(world.decide_at(now).decided_by, DecidedBy::BuiltIn);
    }

    let decision = world.decide_at(now);
    assert_eq!(decision.decided_by, DecidedBy::Policies);
    assert_eq!(decision.chosen.unwrap().as_str(), "b");
    assert!(matches!(world.host.list()[0].health, Health::Quarantined { .. }));
    // It is tried again, and fails again.
    let later = Timestamp(now.0 + 60_000);
    assert_eq!(world.decide_at(later).decided_by, DecidedBy::BuiltIn);
    assert_eq!(world.decide_at(later).chosen.unwrap().as_str(), "b");
}
