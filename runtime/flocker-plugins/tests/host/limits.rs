//! Limits of one plugin that are not everybody's.

use flocker_model::Timestamp;
use flocker_planner::{DecidedBy, Policies};
use flocker_plugins::{Configured, HostConfig, OwnLimits, PluginHost, Reloaded};

use crate::{
    forge::{ANSWER, COUNT, DROP_VIEW, Forge, fill},
    records::Recorded,
    world::{World, configured, question, view},
};

fn own(limits: &[&str]) -> OwnLimits {
    OwnLimits::new(limits.iter().map(|limit| limit.parse().unwrap())).unwrap()
}

/// Counts to so many millions, which takes ten times as much fuel at most, and then answers as a healthy one does.
fn counting(millions: u32) -> Forge {
    let count = format!(
        "(loop $l (local.set $i (i32.add (local.get $i) (i32.const 1)))
           (br_if $l (i32.lt_u (local.get $i) (i32.const {}))))
         (local.set $i (i32.const 0))",
        millions * 1_000_000
    );
    Forge::evaluating(format!("{count} {DROP_VIEW} {COUNT} {} {ANSWER}", fill(5000)))
}

/// The world's limit is 20 million units of fuel.
#[test]
fn what_one_plugin_may_use_up_is_nothing_to_another() {
    let world = World::new();
    let path = world.file("more.wasm", &counting(5).build());
    let limits = own(&["fuel=50M"]);
    world.load("as-all.wasm", &counting(5));
    world.host.load(&Configured { limits, ..configured(&path, "", 1) }).unwrap();

    let decision = world.decide();

    assert_eq!(decision.decided_by, DecidedBy::Policies);
    assert!(decision.candidates.iter().all(|c| c.score == Some(5000)));
    assert_eq!(decision.failures.len(), 1);
    let said = &decision.failures[0].failure.message;
    assert!(said.starts_with("it used up its 20000000 units of fuel"), "{said}");
    assert!(said.ends_with("`limits = { fuel = … }` of the plugin can raise that"), "{said}");
    let told: Vec<_> = world.host.list().iter().map(|p| p.limits.to_string()).collect();
    assert_eq!(told, ["", "fuel=50M"]);
}

#[test]
fn time_and_memory_are_each_plugins_own_too() {
    let grows = "(drop (memory.grow (i32.const 100)))";
    let slow = Forge::evaluating("(loop $l (br $l)) (unreachable)");
    let big = Forge::evaluating(format!("{grows} {DROP_VIEW} {COUNT} {} {ANSWER}", fill(5000)));
    for (plugin, limits, class, words) in [
        (&slow, own(&["fuel=100G", "wall=50ms"]), "timeout", "it took longer than 50 ms"),
        (&big, own(&["memory=2MiB"]), "memory", "the limit is 2097152"),
    ] {
        let world = World::new();
        let path = world.file("hungry.wasm", &plugin.build());
        world.host.load(&Configured { limits, ..configured(&path, "", 1) }).unwrap();

        let failure = world.decide().failures.remove(0).failure;

        assert_eq!(failure.class, class, "{}", failure.message);
        assert!(failure.message.contains(words), "{}", failure.message);
        assert!(failure.message.contains("`limits = { "), "{}", failure.message);
    }
    let world = World::new();
    world.load("big.wasm", &big);
    assert!(world.decide().failures.is_empty());
}

#[test]
fn other_limits_make_another_plugin_of_the_same_file() {
    let world = World::new();
    let path = world.file("p.wasm", &Forge::healthy().build());
    let told = configured(&path, "", 1);
    world.host.load(&told).unwrap();
    let more = Configured { limits: own(&["fuel=50M"]), ..told.clone() };

    assert_eq!(world.host.reload(&told, Timestamp(0)).unwrap(), Reloaded::Unchanged);
    assert_eq!(world.host.reload(&more, Timestamp(0)).unwrap(), Reloaded::Waiting);
}

/// Asked under a limit that is too low for it, a plugin fails again the same way, and answers under a higher one.
#[test]
fn a_question_is_replayed_under_the_limits_that_it_was_asked_under() {
    let recorded = Recorded::new();
    let path = recorded.forged("p.wasm", &counting(1));
    let host = recorded.host(1 << 20);
    let limited = |limits| Configured { limits: own(limits), ..configured(&path, "", 1) };
    host.load(&limited(&["fuel=2M"])).unwrap();
    assert_eq!(host.place(&view(), &question())[0].answer.as_ref().unwrap_err().class, "fuel");
    host.flush_records();

    let again = PluginHost::new(HostConfig::default()).unwrap();
    let replay = |told: &Configured| again.replay(told, &recorded.records(), Timestamp(0)).unwrap();
    let (as_then, with_more) = (replay(&limited(&[])), replay(&limited(&["fuel=50M"])));

    assert_eq!((as_then.asked, as_then.same, as_then.damaged.len()), (1, 1, 0));
    assert_eq!((with_more.asked, with_more.different.len()), (1, 1));
}
