//! The verbs on storage in memory: every call of the driver fails once, before or after its effect, and once another node
//! comes in between.

mod memory;

use memory::{Fault, Kind, Memory};

use super::{Answer, BUSY, DIVERGED, STALE, document::Document, verbs};
use crate::bindings::backend::exports::flocker::plugin::storage_backend::{Op, Point, VolumeInfo};

const MIB: u64 = 1 << 20;

fn op_of(id: &str, epoch: u64) -> Op {
    Op { id: id.to_owned(), epoch, deadline_ms: 0, attrs: Vec::new() }
}

fn op(epoch: u64) -> Op {
    op_of("op", epoch)
}

fn document(node: &Memory, volume: &str) -> Document {
    node.shelf.documents.borrow()[volume].1.clone()
}

/// A snapshot of `v`; with a GUID that nobody has, where there is none.
fn point(node: &Memory, tag: &str) -> Point {
    let documents = node.shelf.documents.borrow();
    let kept = documents.get("v").and_then(|(_, document)| document.tagged(tag));
    let guid = kept.map_or("none", |kept| &kept.guid);
    Point { tag: tag.to_owned(), guid: guid.to_owned() }
}

/// What a container writes to a live volume.
fn write(node: &Memory, volume: &str, content: &str) {
    node.write(volume, document(node, volume).live.as_ref().unwrap(), content);
}

/// What the host writes where it receives.
fn fill(node: &Memory, volume: &str, content: &str) {
    let incoming = document(node, volume).incoming.unwrap();
    node.write(volume, &incoming.disk, content);
}

fn received(tag: &str) -> Point {
    Point { tag: tag.to_owned(), guid: format!("theirs-{tag}") }
}

fn take(node: &Memory, epoch: u64, names: &[&str], tag: &str) -> Answer<()> {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    verbs::snapshot(node, &op(epoch), &names, tag).map(drop)
}

fn created(node: &Memory) {
    for volume in ["v", "w"] {
        verbs::create(node, &op(1), volume, MIB, None).unwrap();
        write(node, volume, "early");
    }
}

fn snapped(node: &Memory) {
    created(node);
    take(node, 1, &["v"], "early").unwrap();
    write(node, "v", "late");
}

fn sealed(node: &Memory) {
    snapped(node);
    verbs::resize(node, &op(1), "v", 2 * MIB).unwrap();
    verbs::seal(node, &op(1), "v").unwrap();
    take(node, 1, &["v"], "late").unwrap();
}

fn retired(node: &Memory) {
    sealed(node);
    verbs::retire(node, &op(2), "v", &point(node, "late")).unwrap();
}

fn replica(node: &Memory) {
    verbs::plan_receive(node, &op(1), "v", None, MIB).unwrap();
    fill(node, "v", "first");
    verbs::finish_receive(node, &op(1), "v", &received("first"), 5).unwrap();
}

fn receiving(node: &Memory) {
    replica(node);
    verbs::plan_receive(node, &op(2), "v", Some(&received("first")), 2 * MIB).unwrap();
    fill(node, "v", "second");
}

/// Given a removal that was cut short after its first word.
fn going(node: &Memory) {
    snapped(node);
    let n_calls_until_said = 3;
    node.arm(Some((n_calls_until_said, Fault::Before)));
    verbs::destroy(node, &op(1), "v").unwrap_err();
    node.disarm();
    assert!(document(node, "v").is_gone());
}

/// A name, what there is before, and what is asked.
type Case = (&'static str, fn(&Memory), fn(&Memory) -> Answer<()>);

const CASES: &[Case] = &[
    ("create", |_| {}, |node| verbs::create(node, &op(1), "v", MIB, None).map(drop)),
    ("create after a removal", going, |node| verbs::create(node, &op(3), "v", MIB, None).map(drop)),
    ("resize", snapped, |node| verbs::resize(node, &op(1), "v", 2 * MIB).map(drop)),
    ("destroy", sealed, |node| verbs::destroy(node, &op(1), "v").map(drop)),
    ("destroy what is going", going, |node| verbs::destroy(node, &op(1), "v").map(drop)),
    ("snapshot", snapped, |node| take(node, 1, &["v", "w", "v"], "both")),
    ("destroy snapshots", sealed, |node| {
        let which =
            [Point { guid: "other".to_owned(), ..point(node, "late") }, point(node, "early")];
        verbs::destroy_snapshots(node, &op(1), "v", &which).map(drop)
    }),
    ("destroy snapshots after a retirement", retired, |node| {
        verbs::destroy_snapshots(node, &op(2), "v", &[point(node, "early")]).map(drop)
    }),
    ("seal", snapped, |node| verbs::seal(node, &op(1), "v").map(drop)),
    ("unseal", sealed, |node| verbs::unseal(node, &op(1), "v").map(drop)),
    ("promote a sealed copy", sealed, |node| {
        verbs::promote(node, &op(2), "v", &point(node, "late")).map(drop)
    }),
    ("promote a replica", receiving, |node| {
        verbs::promote(node, &op(2), "v", &received("first")).map(drop)
    }),
    ("retire", sealed, |node| verbs::retire(node, &op(2), "v", &point(node, "late")).map(drop)),
    ("receive", |_| {}, |node| verbs::plan_receive(node, &op(1), "v", None, MIB).map(drop)),
    ("receive after a removal", going, |node| {
        verbs::plan_receive(node, &op(3), "v", None, MIB).map(drop)
    }),
    ("receive again", receiving, |node| {
        verbs::plan_receive(node, &op(3), "v", Some(&received("first")), 3 * MIB).map(drop)
    }),
    ("finish a receive", receiving, |node| {
        verbs::finish_receive(node, &op(2), "v", &received("second"), 6).map(drop)
    }),
    ("abort a receive", receiving, |node| verbs::abort_receive(node, &op(2), "v").map(drop)),
    (
        "abort the first receive",
        |node| drop(verbs::plan_receive(node, &op(1), "v", None, MIB)),
        |node| verbs::abort_receive(node, &op(1), "v").map(drop),
    ),
];

/// All that there is, without what is another each time: ids of disks, GUIDs, times, and how often something was written.
fn view(node: &Memory) -> String {
    let disks = node.shelf.disks.borrow();
    let mut said = String::new();
    for (volume, (_, document)) in node.shelf.documents.borrow().iter() {
        let shown = |disk: &str| match disks.get(&node.id(volume, disk)) {
            Some(disk) => format!("{:?} of {}", disk.content, disk.size),
            None => "nothing".to_owned(),
        };
        let Document { role, epoch, size, .. } = document;
        said += &format!("{volume}: {role:?} {epoch} {size}");
        said += &format!(", live {:?}", document.live.as_deref().map(shown));
        said += &format!(", incoming {:?}", document.incoming.as_ref().map(|it| shown(&it.disk)));
        for kept in &document.snapshots {
            let (tag, disk) = (&kept.tag, shown(&kept.disk));
            said += &format!("; {tag} {disk} {} {} {}", kept.size, kept.bytes, kept.sealed);
        }
        said.push('\n');
    }
    said + &format!("{} disks", disks.len())
}

/// What a document names is there. What is being received may not have come yet.
#[track_caller]
fn all_that_is_named_is_there(node: &Memory, when: &str) {
    let disks = node.shelf.disks.borrow();
    for (volume, (_, document)) in node.shelf.documents.borrow().iter() {
        let coming = document.incoming.as_ref().map(|incoming| incoming.disk.as_str());
        for disk in document.disks().filter(|disk| Some(*disk) != coming && !document.is_gone()) {
            assert!(
                disks.contains_key(&node.id(volume, disk)),
                "{when}: `{volume}` lacks `{disk}`"
            );
        }
    }
}

fn given(kind: Kind, before: fn(&Memory)) -> Memory {
    let node = Memory::of(kind);
    before(&node);
    node
}

/// Every verb, every call of the driver, before and after its effect.
#[test]
fn a_change_that_failed_anywhere_and_is_asked_for_again_ends_as_one_that_did_not() {
    for kind in [Kind::Keyed, Kind::Named] {
        for (name, before, ask) in CASES {
            let node = given(kind, *before);
            node.arm(None);
            ask(&node).unwrap();
            let (n_calls, wanted) = (node.disarm(), view(&node));
            assert!(n_calls > 0, "{name}");
            for (at, after) in (0..n_calls).flat_map(|at| [(at, false), (at, true)]) {
                let when = format!("{kind:?}, {name}, call {at}, after its effect: {after}");
                let node = given(kind, *before);
                node.arm(Some((at, if after { Fault::After } else { Fault::Before })));

                let failed = ask(&node);

                assert!(failed.is_err(), "{when}: the fault was swallowed");
                all_that_is_named_is_there(&node, &when);
                node.disarm();
                ask(&node).unwrap_or_else(|error| panic!("{when}: {}", error.message));
                all_that_is_named_is_there(&node, &when);
                assert_eq!(view(&node), wanted, "{when}");
            }
        }
    }
}

/// As above, but nobody asks again: the volume is removed.
#[test]
fn what_a_failure_leaves_goes_with_the_volume() {
    for kind in [Kind::Keyed, Kind::Named] {
        for (name, before, ask) in CASES {
            let node = given(kind, *before);
            node.arm(None);
            ask(&node).unwrap();
            for at in 0..node.disarm() {
                let node = given(kind, *before);
                node.arm(Some((at, Fault::After)));
                ask(&node).unwrap_err();
                node.disarm();

                for volume in ["v", "w"] {
                    verbs::destroy(&node, &op(9), volume).unwrap();
                }

                assert_eq!(view(&node), "0 disks", "{kind:?}, {name}, call {at}");
            }
        }
    }
}

/// Two nodes share an array: whatever another node does between two calls, no document lacks a disk. Disks that both make
/// under one key are the same.
#[test]
fn another_node_in_between_takes_no_disk_away_that_counts() {
    for ((name, before, ask), (other, _, meanwhile)) in
        CASES.iter().flat_map(|case| CASES.iter().map(move |other| (case, other)))
    {
        let node = given(Kind::Keyed, *before);
        node.arm(None);
        ask(&node).unwrap();
        for (at, client) in (0..node.disarm()).flat_map(|at| [(at, ""), (at, "second")]) {
            let node = given(Kind::Keyed, *before);
            let second = Memory { client, ..node.clone() };
            let first_of_all = CASES[0].2;
            let meanwhile = move || {
                drop(meanwhile(&second));
                drop(first_of_all(&second));
            };
            node.arm(Some((at, Fault::Between(Box::new(meanwhile)))));

            let answer = ask(&node);

            node.disarm();
            let when = format!("{name}, call {at}, `{other}` in between, {client}: {answer:?}");
            all_that_is_named_is_there(&node, &when);
        }
    }
}

#[test]
fn a_change_under_an_older_epoch_is_refused_and_has_no_effect() {
    let node = given(Kind::Keyed, retired);
    let before = view(&node);
    let at = point(&node, "late");
    let old = op(1);
    let changes: [(&str, Answer<()>); 10] = [
        ("create", verbs::create(&node, &old, "v", MIB, None).map(drop)),
        ("resize", verbs::resize(&node, &old, "v", 9 * MIB).map(drop)),
        ("destroy", verbs::destroy(&node, &old, "v").map(drop)),
        ("snapshot", take(&node, 1, &["w", "v"], "new")),
        ("destroy snapshots", {
            verbs::destroy_snapshots(&node, &old, "v", std::slice::from_ref(&at)).map(drop)
        }),
        ("attach", verbs::attach(&node, &old, "v").map(drop)),
        ("seal", verbs::seal(&node, &old, "v").map(drop)),
        ("promote", verbs::promote(&node, &old, "v", &at).map(drop)),
        ("receive", verbs::plan_receive(&node, &old, "v", None, MIB).map(drop)),
        ("abort", verbs::abort_receive(&node, &old, "v").map(drop)),
    ];
    for (name, answer) in changes {
        assert_eq!(answer.unwrap_err().code, STALE, "{name}");
    }
    assert_eq!(view(&node), before);
}

/// A seal makes all earlier snapshots unfit to take the live disk's place, also after it was undone and came again.
#[test]
fn a_sealed_copy_gives_way_only_to_a_snapshot_that_was_taken_since() {
    let node = given(Kind::Keyed, sealed);
    verbs::unseal(&node, &op(1), "v").unwrap();
    write(&node, "v", "precious");
    let at = point(&node, "late");
    assert!(verbs::retire(&node, &op(2), "v", &at).is_err());
    verbs::seal(&node, &op_of("other", 1), "v").unwrap();

    let refused = verbs::promote(&node, &op(2), "v", &at).unwrap_err();
    assert_eq!(refused.code, DIVERGED);
    let refused = verbs::retire(&node, &op(2), "v", &at).unwrap_err();
    assert_eq!(refused.code, DIVERGED);

    take(&node, 1, &["v"], "whole").unwrap();
    verbs::promote(&node, &op(2), "v", &point(&node, "whole")).unwrap();
    assert!(view(&node).contains(r#"live Some("\"precious\" of"#), "{}", view(&node));
}

/// Given an attempt whose snapshot was made before the seal and did not count, the next one is of what the seal found.
#[test]
fn a_disk_of_before_the_seal_is_not_taken_for_one_of_after_it() {
    let node = given(Kind::Keyed, snapped);
    let until_the_document_is_replaced = 2;
    node.arm(Some((until_the_document_is_replaced, Fault::Before)));
    take(&node, 1, &["v"], "last").unwrap_err();
    node.disarm();
    write(&node, "v", "precious");
    verbs::seal(&node, &op(1), "v").unwrap();

    take(&node, 1, &["v"], "last").unwrap();
    verbs::promote(&node, &op(2), "v", &point(&node, "last")).unwrap();

    assert!(view(&node).contains(r#"live Some("\"precious\" of"#), "{}", view(&node));
}

/// The host unmounts only after it was told.
#[test]
fn a_retired_copy_keeps_its_disk_until_the_next_change() {
    let node = given(Kind::Keyed, sealed);
    let live = document(&node, "v").live.unwrap();
    let at = point(&node, "late");
    for _ in 0..2 {
        verbs::retire(&node, &op(2), "v", &at).unwrap();
        assert!(node.shelf.disks.borrow().contains_key(&live));
    }

    verbs::destroy_snapshots(&node, &op(2), "v", &[]).unwrap();

    assert!(!node.shelf.disks.borrow().contains_key(&live));
}

/// A snapshot has the size of its time; what was announced since may be more, and the copy has it after a promotion.
#[test]
fn a_promoted_copy_has_the_size_that_was_announced() {
    let node = given(Kind::Keyed, receiving);
    verbs::promote(&node, &op(2), "v", &received("first")).unwrap();
    assert!(view(&node).starts_with(r#"v: Live 2 2097152, live Some("\"first\" of 2097152")"#));
}

#[test]
fn nothing_counts_as_received_that_is_not_there() {
    let node = given(Kind::Named, replica);
    verbs::plan_receive(&node, &op(1), "v", None, MIB).unwrap();
    let refused = verbs::finish_receive(&node, &op(1), "v", &received("second"), 1).unwrap_err();
    assert!(refused.message.contains("nothing that was received"), "{}", refused.message);
}

#[test]
fn files_without_a_document_are_not_reused() {
    let node = given(Kind::Named, snapped);
    node.shelf.documents.borrow_mut().clear();
    let before = view(&node);
    for refused in [
        verbs::create(&node, &op(1), "v", MIB, None).map(drop),
        verbs::plan_receive(&node, &op(1), "v", None, MIB).map(drop),
        verbs::destroy(&node, &op(1), "v").map(drop),
    ] {
        assert!(refused.unwrap_err().message.contains("holds files"));
    }
    assert_eq!(view(&node), before);
}

/// Pages are those of the host: what is being removed or damaged is in none, and makes none shorter.
#[test]
fn what_is_going_or_damaged_is_not_listed_and_hides_nothing() {
    let node = Memory::of(Kind::Keyed);
    for volume in ["a", "damaged", "e", "going", "i", "z"] {
        verbs::create(&node, &op(1), volume, MIB, None).unwrap();
    }
    node.arm(Some((3, Fault::Before)));
    verbs::destroy(&node, &op(1), "going").unwrap_err();
    node.disarm();
    for limit in 1..8 {
        let mut names: Vec<String> = Vec::new();
        loop {
            let after = names.last().map(String::as_str);
            let page = verbs::volumes(&node, after, limit).unwrap();
            let is_last = page.len() < limit as usize;
            names.extend(page.into_iter().map(|VolumeInfo { name, .. }| name));
            if is_last {
                break;
            }
        }
        assert_eq!(names, ["a", "e", "i", "z"], "{limit} at a time");
    }
}

#[test]
fn who_is_late_is_told_so_and_made_nothing_that_counts() {
    let node = given(Kind::Keyed, snapped);
    let second = node.clone();
    let seal = move || assert!(verbs::seal(&second, &op_of("other", 1), "v").unwrap());
    node.arm(Some((1, Fault::Between(Box::new(seal)))));

    let refused = take(&node, 1, &["v"], "late").unwrap_err();

    assert_eq!(refused.code, BUSY);
    assert_eq!(document(&node, "v").snapshots.len(), 1);
}

#[test]
fn what_is_no_name_is_not_looked_for() {
    let node = Memory::of(Kind::Named);
    for name in ["", "..", "a/b", "A", &"a".repeat(65)] {
        assert!(verbs::create(&node, &op(1), name, MIB, None).is_err(), "{name}");
        assert!(verbs::destroy(&node, &op(1), name).is_err(), "{name}");
        assert!(verbs::find(&node, name).is_err(), "{name}");
    }
    assert_eq!(node.disarm(), 0);
}
