//! The components of `plugins/`, as an operator uses them. They must have been built: `cargo xtask test` does it.

use std::path::{Path, PathBuf};

use flocker_model::ByteSize;
use flocker_planner::{BuiltIn, DecidedBy, Decision, Policies, decide};
use flocker_plugins::{Hook, Limits};

use crate::world::{World, configured, question, view};

pub(crate) fn wasm(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../plugins/target/wasm32-unknown-unknown/release");
    let path = folder.join(format!("{name}.wasm"));
    assert!(
        path.exists(),
        "`{}` is missing\nhint: cd plugins && cargo build --release",
        path.display()
    );
    path
}

/// A host with policies of ours and their settings. Each has one kind of opinion, and exports nothing else.
pub(crate) fn loaded(hook: Hook, policies: &[(&str, &str)]) -> World {
    let world = World::with(Limits::default());
    for (name, settings) in policies {
        let loaded = world.host.load(&configured(&wasm(name), settings, 1)).unwrap();
        assert_eq!((loaded.name.as_str(), loaded.hooks), (*name, vec![hook]));
    }
    world
}

fn decided_by(name: &str) -> Decision {
    let world = loaded(Hook::Placement, &[(name, "")]);
    let decision = world.decide();
    assert_eq!(
        (decision.decided_by, decision.failures.len()),
        (DecidedBy::Policies, 0),
        "{decision}"
    );
    decision
}

#[test]
fn spread_takes_the_emptiest_node_and_binpack_the_fullest_that_fits() {
    assert_eq!(decided_by("spread").chosen.unwrap().as_str(), "a");
    assert_eq!(decided_by("binpack").chosen.unwrap().as_str(), "c");
}

#[test]
fn what_they_read_and_why_they_decided_is_known() {
    let decision = decided_by("spread");
    let evidence = &decision.consulted[0].evidence;
    assert!(
        evidence.columns.contains(&"nodes/memory-promised-bytes".to_owned()),
        "{:?}",
        evidence.columns
    );
    assert!(evidence.fuel > 0);
    assert!(decision.to_string().contains("(0 other apps)"), "{decision}");
}

#[test]
fn binpack_refuses_a_node_where_the_app_does_not_fit() {
    let world = loaded(Hook::Placement, &[("binpack", "")]);
    let mut question = question();
    question.memory = ByteSize::gib(8);

    let answers = world.host.place(&view(), &question);
    let decision = decide(&view(), &question, answers, &BuiltIn);

    assert_eq!(decision.chosen.as_ref().unwrap().as_str(), "b");
    assert!(decision.to_string().contains("refused (too little memory left)"), "{decision}");
}

#[test]
fn the_same_question_gets_the_same_answer_across_instances() {
    let world = World::with(Limits { calls_per_instance: 7, ..Limits::default() });
    world.host.load(&configured(&wasm("spread"), "", 1)).unwrap();
    let first = world.host.place(&view(), &question())[0].answer.clone();
    for _ in 0..50 {
        assert_eq!(world.host.place(&view(), &question())[0].answer, first);
    }
}

#[test]
fn settings_that_a_policy_does_not_have_are_refused_in_its_words() {
    let world = World::new();
    let refused = world
        .host
        .load(&configured(&wasm("spread"), r#"{"speed": 11}"#, 1))
        .unwrap_err()
        .to_string();
    assert!(refused.contains("this policy has no settings"), "{refused}");
}
