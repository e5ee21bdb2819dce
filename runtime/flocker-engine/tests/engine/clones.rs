//! Volumes that are made out of others.

use flocker_model::{NodeName, SnapshotTag, VolumeName};
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
    assert_eq!(ended(&world, &id).await.state, flocker_model::OperationState::Done);
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
