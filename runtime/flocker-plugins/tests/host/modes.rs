//! Plugins that are only tried out, and those that are off.

use flocker_planner::DecidedBy;
use flocker_plugins::{Configured, Mode};

use crate::{
    forge::{ANSWER, COUNT, DROP_VIEW, Forge},
    world::{World, configured, view},
};

/// Gives the candidate in this position 9000 points and the others none.
pub(crate) fn prefers(position: u32) -> Forge {
    let address = 4096 + 4 * position;
    let scores = format!("(i32.store (i32.const {address}) (i32.const 9000))");
    Forge::evaluating(format!("{DROP_VIEW} {COUNT} {scores} {ANSWER}"))
}

pub(crate) fn trap() -> Forge {
    Forge::evaluating("(unreachable)")
}

pub(crate) fn load(world: &World, name: &str, plugin: &Forge, mode: Mode) -> Configured {
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
fn what_is_decided_over_and_over_is_one_disagreement() {
    let world = World::new();
    load(&world, "active.wasm", &prefers(1), Mode::Active);
    load(&world, "other.wasm", &prefers(2), Mode::Shadow);

    for _ in 0..10 {
        world.decide_about("shop");
        world.decide_about("wiki");
    }

    let shadow = &world.host.list()[1];
    assert_eq!((shadow.calls, shadow.disagreements), (20, 2));
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
fn until_it_is_loaded_it_counts_as_one_that_fails() {
    let world = World::new();
    let path = world.file("big.wasm", &prefers(2).build());
    let plugin = configured(&path, "", 1);
    world.host.announce(std::slice::from_ref(&plugin), view().now);

    let decision = world.decide();
    assert_eq!(decision.decided_by, DecidedBy::BuiltIn);
    assert!(decision.to_string().contains("policy `big` failed (loading)"), "{decision}");

    world.host.load(&plugin).unwrap();
    let decision = world.decide();
    assert_eq!((decision.chosen.unwrap().as_str(), decision.failures.len()), ("c", 0));
}

#[test]
fn one_that_cannot_be_loaded_is_remembered_with_the_reason() {
    let world = World::new();
    let broken = Forge { configure: "(unreachable)".into(), ..prefers(2) };
    let plugin = configured(&world.file("big.wasm", &broken.build()), "", 1);
    world.host.announce(std::slice::from_ref(&plugin), view().now);

    world.host.load(&plugin).unwrap_err();

    let refused = world.host.pending()[0].refused.clone().unwrap();
    assert!(refused.contains("while it was configured"), "{refused}");
    assert_eq!(world.decide().failures[0].failure.class, "not-loaded");
    world.host.reconfigure(&[], view().now);
    assert_eq!(world.host.pending(), []);
}

#[test]
fn a_plugin_that_is_off_is_not_asked() {
    let world = World::new();
    load(&world, "off.wasm", &prefers(2), Mode::Off);

    assert_eq!(world.decide().decided_by, DecidedBy::BuiltIn);
    assert_eq!(world.host.list()[0].calls, 0);
}
