//! Volumes that are made out of others.

use std::{collections::BTreeSet, time::Duration};

use flocker_engine::control::Wish;
use flocker_model::{NodeName, OperationState, SnapshotTag, VolumeName};
use flocker_ports::{Backend as _, Op};
use flocker_sim::{Trap, Victim, World};

use crate::pretend::*;

fn name(name: &str) -> VolumeName {
    VolumeName::new(name).unwrap()
}

fn tag(tag: &str) -> SnapshotTag {
    SnapshotTag::new(tag).unwrap()
}

/// Where a volume is, and the present state of it there.
async fn attached(world: &World, volume: &str) -> (NodeName, flocker_ports::Attachment) {
    let volume = world.state().await.unwrap().volumes[&name(volume)].value.clone();
    let owner = volume.owner.unwrap();
    let op = Op { id: "test".parse().unwrap(), epoch: volume.epoch };
    (owner.clone(), world.backend(&owner).unwrap().attach(&op, &volume.id).await.unwrap())
}

async fn write(world: &World, volume: &str, bytes: &[u8]) {
    let (node, at) = attached(world, volume).await;
    world.backend(&node).unwrap().write_file(&at, "a", bytes).unwrap();
}

async fn content(world: &World, volume: &str) -> Vec<u8> {
    let (node, at) = attached(world, volume).await;
    world.backend(&node).unwrap().read_file(&at, "a").unwrap().to_vec()
}

async fn tags(world: &World, volume: &str) -> Vec<String> {
    let listed = world.control().snapshots(&name(volume)).await.unwrap();
    listed.into_iter().map(|taken| taken.point.tag.to_string()).collect()
}

/// Given a volume that is used, its clones hold what it held and what it holds, on the same node, and apps can use them.
#[tokio::test(start_paused = true)]
async fn a_clone_is_a_volume_that_apps_can_use() {
    let world = booted().await;
    volume_on(&world, "data", "n2").await;
    write(&world, "data", b"then").await;
    let control = world.control();
    control.snapshot(&name("data"), Some(tag("then"))).await.unwrap();
    write(&world, "data", b"now").await;

    let old = control.clone_volume(&name("data"), Some(&tag("then")), &name("old")).await.unwrap();
    let new = control.clone_volume(&name("data"), None, &name("new")).await.unwrap();

    assert_eq!((old.owner, new.owner), (Some(node("n2")), Some(node("n2"))));
    assert_eq!(content(&world, "old").await, b"then");
    assert_eq!(content(&world, "new").await, b"now");
    assert_eq!(tags(&world, "data").await, ["then"], "what was only for the clone is gone");
    assert!(world.state().await.unwrap().leftovers.is_empty());
    let id = deployed(&world, &adopting("copy", "new")).await;
    assert_eq!(ended(&world, &id).await.state, OperationState::Done);
    let state = world.state().await.unwrap();
    assert_eq!(state.volumes[&name("new")].value.app.as_ref().unwrap().as_str(), "copy");
    control.remove_volume(&name("data")).await.unwrap();
    assert_eq!(content(&world, "old").await, b"then");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_cloned_is_said_and_leaves_nothing() {
    let world = booted().await;
    volume_on(&world, "data", "n2").await;
    let control = world.control();

    let taken = control.clone_volume(&name("data"), None, &name("data")).await.unwrap_err();
    let nobody = control.clone_volume(&name("nobody"), None, &name("new")).await.unwrap_err();
    let never = control.clone_volume(&name("data"), Some(&tag("never")), &name("new")).await;

    assert_eq!((taken.code, nobody.code), ("already-exists", "volume-not-found"));
    let never = never.unwrap_err();
    assert_eq!(never.code, "snapshot-not-found");
    assert!(never.hint.unwrap().contains("flocker volume snapshots data"));
    assert_eq!(tags(&world, "data").await, [""; 0]);
    assert_eq!(world.backend(&node("n2")).unwrap().volumes().await.unwrap().len(), 1);
}

/// Given a leader that dies before or after a node made a clone, there is all of it or nothing.
#[tokio::test(start_paused = true)]
async fn a_clone_that_nobody_was_told_of_goes() {
    for after in [false, true] {
        let world = booted().await;
        volume_on(&world, "data", "n2").await;
        world.set_trap(Trap { step: "clone".into(), after, victim: Victim::Leader });

        let control = world.control();
        // Whoever asks goes away with the leader.
        let asked =
            tokio::spawn(
                async move { control.clone_volume(&name("data"), None, &name("new")).await },
            );
        until(|| async { !world.trap_is_set() }).await;
        asked.abort();
        world.revive(&Victim::Leader).unwrap();

        until(|| async { world.state().await.unwrap().leftovers.is_empty() }).await;
        let state = world.state().await.unwrap();
        let copies = world.backend(&node("n2")).unwrap().volumes().await.unwrap();
        assert_eq!(copies.len(), state.volumes.len(), "{:?}", state.volumes);
        let heard = || world.control().seen(&node("n2")).is_some_and(|seen| seen.alive());
        until(|| async { heard() }).await;
        world.control().clone_volume(&name("data"), None, &name("another")).await.unwrap();
    }
}

/// Given a volume with an older and a newer snapshot, it is as it was at the older one, and what it was until now is a
/// volume that apps can use.
#[tokio::test(start_paused = true)]
async fn a_way_back_keeps_what_was_as_a_volume() {
    let world = booted().await;
    volume_on(&world, "data", "n2").await;
    let control = world.control();
    for moment in ["older", "newer"] {
        write(&world, "data", moment.as_bytes()).await;
        control.snapshot(&name("data"), Some(tag(moment))).await.unwrap();
    }
    write(&world, "data", b"now").await;

    let kept = control.rollback_volume(&name("data"), &tag("older")).await.unwrap();

    let was = kept.name.as_str();
    assert!(was.starts_with("data-before-"), "{was}");
    assert_eq!(content(&world, "data").await, b"older");
    assert_eq!(content(&world, was).await, b"now");
    assert_eq!(tags(&world, "data").await, ["older"]);
    assert_eq!(tags(&world, was).await, ["newer"]);
    let id = deployed(&world, &adopting("rescue", was)).await;
    assert_eq!(ended(&world, &id).await.state, OperationState::Done);
    let never = control.rollback_volume(&name("data"), &tag("newer")).await.unwrap_err();
    assert_eq!(never.code, "snapshot-not-found");
    assert_eq!(world.state().await.unwrap().volumes.len(), 2);
}

/// Given an app that uses the volume, it is refused until the app is gone, and the app finds the volume afterwards; a late
/// order for it is refused by the node itself.
#[tokio::test(start_paused = true)]
async fn a_volume_that_an_app_uses_stays_as_it_is() {
    let world = shop().await;
    let (control, data) = (world.control(), name("shop.data"));
    write(&world, "shop.data", b"then").await;
    control.snapshot(&data, Some(tag("then"))).await.unwrap();
    write(&world, "shop.data", b"now").await;

    let used = control.rollback_volume(&data, &tag("then")).await.unwrap_err();

    assert_eq!(used.code, "volume-in-use");
    assert!(used.hint.unwrap().contains("flocker app rm shop"));
    assert_eq!(content(&world, "shop.data").await, b"now");
    let gone = control.remove(&app(), false).await.unwrap();
    assert_eq!(ended(&world, &gone).await.state, OperationState::Done);
    control.rollback_volume(&data, &tag("then")).await.unwrap();
    let back = deployed(&world, SHOP).await;
    assert_eq!(ended(&world, &back).await.state, OperationState::Done);
    assert_eq!(content(&world, "shop.data").await, b"then");
    let late = world.deliver_again("rollback").await.unwrap().unwrap_err();
    assert!(late.to_string().contains("app `shop` uses volume"), "{late}");
}

/// Given a replica with a snapshot that the volume has no more, it is not overwritten, and says so, until it is made anew.
#[tokio::test(start_paused = true)]
async fn a_replica_that_is_ahead_is_a_conflict_until_it_is_made_anew() {
    let world = booted().await;
    volume_on(&world, "data", "n2").await;
    let control = world.control();
    write(&world, "data", b"then").await;
    control.snapshot(&name("data"), Some(tag("then"))).await.unwrap();
    let every = Some(Duration::from_secs(2));
    let wish = || Wish { nodes: BTreeSet::from([node("n3")]), every, ..Wish::default() };
    let seen = async || control.replicas(None).await.unwrap().pop().and_then(|view| view.seen);
    write(&world, "data", b"now").await;
    control.add_replicas("data", &wish()).await.unwrap();
    until(async || seen().await.is_some_and(|seen| seen.at.is_some())).await;

    control.rollback_volume(&name("data"), &tag("then")).await.unwrap();
    write(&world, "data", b"another way").await;

    let trouble = async || seen().await.and_then(|seen| seen.trouble).unwrap_or_default();
    until(async || trouble().await.contains("diverged")).await;
    control.remove_replicas("data", Some(&node("n3"))).await.unwrap();
    until(|| async { world.state().await.unwrap().leftovers.is_empty() }).await;
    control.add_replicas("data", &wish()).await.unwrap();
    until(async || seen().await.is_some_and(|seen| seen.at.is_some() && seen.trouble.is_none()))
        .await;
}

/// Given a leader that dies before or after the node went back, nothing is removed.
#[tokio::test(start_paused = true)]
async fn what_was_is_never_lost_with_a_leader() {
    for after in [false, true] {
        let world = booted().await;
        volume_on(&world, "data", "n2").await;
        write(&world, "data", b"then").await;
        world.control().snapshot(&name("data"), Some(tag("then"))).await.unwrap();
        write(&world, "data", b"now").await;
        world.set_trap(Trap { step: "rollback".into(), after, victim: Victim::Leader });
        let control = world.control();
        let asked =
            tokio::spawn(async move { control.rollback_volume(&name("data"), &tag("then")).await });
        until(|| async { !world.trap_is_set() }).await;
        asked.abort();
        world.revive(&Victim::Leader).unwrap();
        tokio::time::sleep(Duration::from_secs(30)).await;

        let volumes = world.state().await.unwrap().volumes;
        let was = volumes.keys().find(|name| name.as_str().starts_with("data-before-")).unwrap();
        // Whether the order reached the node before the leader died is the network's.
        let held = [content(&world, "data").await, content(&world, was.as_str()).await];
        assert_eq!(held, [b"then".to_vec(), b"now".to_vec()], "after: {after}");
    }
}
