//! Replicas in a pretend cluster, while a client writes all the time.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use flocker_engine::control::{Reason, ReplicaView, Wish};
use flocker_model::{Epoch, NodeName, OperationId, OperationState, VolumeName};
use flocker_ports::{Backend as _, Op};
use flocker_sim::{Victim, World};
use tokio::time::sleep;

use crate::pretend::*;

/// Often, and to this node.
fn to(name: &str) -> Wish {
    let every = Some(Duration::from_secs(2));
    Wish { nodes: BTreeSet::from([node(name)]), every, ..Wish::default() }
}

async fn volume(world: &World) -> flocker_model::Volume {
    let state = world.state().await.unwrap();
    state.volumes[&VolumeName::new("shop.data").unwrap()].value.clone()
}

async fn view(world: &World, on: &NodeName) -> Option<ReplicaView> {
    world.control().replicas(None).await.unwrap().into_iter().find(|view| view.node == *on)
}

async fn is_current(world: &World, on: &NodeName) -> bool {
    let seen = view(world, on).await.and_then(|view| view.seen);
    let behind = seen.and_then(|seen| seen.behind);
    behind.is_some_and(|behind| behind < Duration::from_secs(4))
}

/// The records that a node's copy holds, at its newest snapshot for replicas.
async fn copied(world: &World, on: &NodeName) -> usize {
    let id = volume(world).await.id;
    world.backend(on).unwrap().snapshots(&id).await.map_or(0, |all| all.len())
}

/// The shop, and a node that it is not on.
async fn replicated() -> (Arc<World>, NodeName, NodeName) {
    let world = shop().await;
    let source = owner(&world).await;
    let target = another(&source);
    world.control().add_replicas("shop", &to(target.as_str())).await.unwrap();
    (world, source, target)
}

#[tokio::test(start_paused = true)]
async fn a_replica_follows_and_is_written_down() {
    let (world, _, target) = replicated().await;
    let client = Client::start(world.clone(), node("n1"));

    until(async || is_current(&world, &target).await).await;
    sleep(Duration::from_secs(60)).await;

    assert!(is_current(&world, &target).await, "{:?}", view(&world, &target).await);
    let view = view(&world, &target).await.unwrap();
    assert_eq!(view.reason, Reason::Named);
    let sent = view.seen.unwrap().sent;
    assert!(sent.snapshots >= 20 && sent.snapshots <= 35, "{sent:?}");
    let noted = volume(&world).await.replicas;
    assert_eq!(noted.iter().map(|r| &r.node).collect::<Vec<_>>(), [&target]);
    assert!(noted[0].tag.as_str().starts_with("repl-") && noted[0].taken.is_some(), "{noted:?}");
    // Neither side collects what nobody needs.
    let id = volume(&world).await.id;
    for name in [owner(&world).await, target] {
        let kept = world.backend(&name).unwrap().snapshots(&id).await.unwrap();
        assert!(kept.len() <= 5, "{name}: {kept:?}");
    }
    client.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_was_away_is_sent_what_it_lacks() {
    let (world, source, target) = replicated().await;
    for number in 0..300 {
        world.write(&node("n1"), &redis(), &format!("old-{number}"), &[1; 10_000]).unwrap();
    }
    until(async || is_current(&world, &target).await).await;
    let seeded = view(&world, &target).await.unwrap().seen.unwrap().sent.bytes;
    world.kill(&Victim::Node(target.clone()));
    sleep(Duration::from_secs(30)).await;
    world.write(&node("n1"), &redis(), "new", &[2; 10_000]).unwrap();
    sleep(Duration::from_secs(90)).await;
    let here = world.backend(&source).unwrap().snapshots(&volume(&world).await.id).await.unwrap();
    assert!(here.len() <= 4, "an absent receiver makes the source keep {here:?}");
    let trouble = view(&world, &target).await.unwrap().seen.unwrap().trouble;
    assert!(trouble.is_some());

    world.revive(&Victim::Node(target.clone())).unwrap();
    until(async || is_current(&world, &target).await).await;

    let seen = view(&world, &target).await.unwrap().seen.unwrap();
    let since = seen.sent.bytes.0 - seeded.0;
    assert!(since * 10 < seeded.0, "{since} bytes after {seeded}");
    assert_eq!(seen.trouble, None);
}

/// Given another volume that is due at the same moments, and that somebody removed.
#[tokio::test(start_paused = true)]
async fn a_volume_in_trouble_holds_up_no_other() {
    let (world, source, target) = replicated().await;
    let name = volume_on(&world, "wreck", source.as_str()).await;
    world.control().add_replicas("wreck", &to(target.as_str())).await.unwrap();
    let client = Client::start(world.clone(), node("n1"));
    until(async || is_current(&world, &target).await).await;
    let wreck = world.state().await.unwrap().volumes[&name].value.id.clone();
    let op = Op { id: OperationId::new("stranger").unwrap(), epoch: Epoch(1_000_000) };
    world.backend(&source).unwrap().destroy(&op, &wreck).await.unwrap();

    sleep(Duration::from_secs(60)).await;

    assert!(is_current(&world, &target).await, "{:?}", view(&world, &target).await);
    let seen = view(&world, &target).await.unwrap().seen.unwrap();
    assert!(seen.sent.snapshots >= 20, "{seen:?}");
    assert_eq!(seen.trouble, None);
    let views = world.control().replicas(None).await.unwrap();
    let wreck = views.iter().find(|view| view.volume.name == name).unwrap();
    assert!(wreck.seen.as_ref().is_some_and(|seen| seen.trouble.is_some()), "{wreck:?}");
    let id = volume(&world).await.id;
    let kept = world.backend(&source).unwrap().snapshots(&id).await.unwrap();
    assert!(kept.len() <= 5, "{kept:?}");
    client.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_was_killed_goes_on_where_it_was() {
    let (world, source, target) = replicated().await;
    for number in 0..300 {
        world.write(&node("n1"), &redis(), &format!("old-{number}"), &[1; 10_000]).unwrap();
    }
    until(async || is_current(&world, &target).await).await;
    let seeded = view(&world, &target).await.unwrap().seen.unwrap().sent.bytes;

    world.kill(&Victim::Node(source.clone()));
    sleep(Duration::from_secs(10)).await;
    world.revive(&Victim::Node(source.clone())).unwrap();
    until(async || world.write(&node("n1"), &redis(), "new", &[2; 10_000]).is_ok()).await;
    sleep(Duration::from_secs(10)).await;
    until(async || is_current(&world, &target).await).await;

    let sent = view(&world, &target).await.unwrap().seen.unwrap().sent;
    assert!(sent.bytes.0 * 10 < seeded.0, "{sent:?} after {seeded}");
}

#[tokio::test(start_paused = true)]
async fn a_replica_makes_a_move_short_and_is_left_where_the_app_was() {
    let (world, source, target) = replicated().await;
    let client = Client::start(world.clone(), node("n1"));
    for number in 0..300 {
        world.write(&node("n1"), &redis(), &format!("old-{number}"), &[1; 10_000]).unwrap();
    }
    until(async || is_current(&world, &target).await).await;

    let id = world.control().move_app(&app(), Some(&target)).await.unwrap().0;
    let operation = ended(&world, &id).await;

    assert_eq!(operation.state, OperationState::Done);
    assert!(operation.report.bytes().0 < 300_000, "{:?}", operation.report);
    let moved = volume(&world).await;
    assert_eq!(moved.receivers().collect::<Vec<_>>(), [&source]);
    until(async || is_current(&world, &source).await).await;
    let sent = view(&world, &source).await.unwrap().seen.unwrap().sent;
    assert!(sent.bytes.0 < 300_000, "sent from the beginning: {sent:?}");
    let acknowledged = client.end().await;
    settled(&world, &acknowledged).await;
}

#[tokio::test(start_paused = true)]
async fn a_replica_goes_on_when_the_app_moves_to_a_third_node() {
    let (world, source, replica) = replicated().await;
    let third = ["n1", "n2", "n3"].map(node).into_iter().find(|n| *n != source && *n != replica);
    let third = third.unwrap();
    for number in 0..300 {
        world.write(&node("n1"), &redis(), &format!("old-{number}"), &[1; 10_000]).unwrap();
    }
    until(async || is_current(&world, &replica).await).await;
    // The records know it by then.
    until(async || !volume(&world).await.replicas.is_empty()).await;

    let id = world.control().move_app(&app(), Some(&third)).await.unwrap().0;
    assert_eq!(ended(&world, &id).await.state, OperationState::Done);
    until(async || world.write(&node("n1"), &redis(), "new", &[2; 10_000]).is_ok()).await;
    sleep(Duration::from_secs(5)).await;
    until(async || is_current(&world, &replica).await).await;

    let seen = view(&world, &replica).await.unwrap().seen.unwrap();
    assert!(seen.sent.bytes.0 < 300_000 && seen.sent.snapshots > 0, "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn policies_choose_where_replicas_go_if_nobody_says() {
    let world = shop().await;
    let wish = Wish { copies: Some(2), every: Some(Duration::from_secs(2)), ..Wish::default() };

    world.control().add_replicas("shop.data", &wish).await.unwrap();

    let owner = owner(&world).await;
    for name in &["n1", "n2", "n3"].map(node) {
        if *name == owner {
            continue;
        }
        until(async || is_current(&world, name).await).await;
        assert_eq!(view(&world, name).await.unwrap().reason, Reason::Chosen);
    }
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_is_given_up_is_removed_also_later() {
    let (world, _, target) = replicated().await;
    until(async || is_current(&world, &target).await).await;
    assert!(copied(&world, &target).await > 0);
    world.kill(&Victim::Node(target.clone()));
    sleep(Duration::from_secs(10)).await;

    let gone = world.control().remove_replicas("shop", Some(&target)).await.unwrap();

    assert_eq!(gone, BTreeSet::from([target.clone()]));
    assert_eq!(view(&world, &target).await, None);
    world.revive(&Victim::Node(target.clone())).unwrap();
    until(async || copied(&world, &target).await == 0).await;
    nothing_left_on(&world, &target).await;
    until(async || world.state().await.unwrap().leftovers.is_empty()).await;
    let refused = world.control().remove_replicas("shop", Some(&target)).await.unwrap_err();
    assert_eq!(refused.code, "replica-not-found");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_removed_is_replaced_where_policies_chose_it() {
    let world = shop().await;
    let owner = owner(&world).await;
    let wish = Wish { copies: Some(1), every: Some(Duration::from_secs(2)), ..Wish::default() };
    world.control().add_replicas("shop", &wish).await.unwrap();
    until(async || volume(&world).await.receivers().count() == 1).await;
    let first = volume(&world).await.receivers().next().unwrap().clone();
    until(async || is_current(&world, &first).await).await;
    // The one that leads cannot be removed, and is none of the two here.
    world.kill(&Victim::Node(first.clone()));
    sleep(Duration::from_secs(20)).await;

    world.control().remove_node(&first, &owner).await.unwrap();

    let second = ["n1", "n2", "n3"].map(node).into_iter().find(|n| *n != owner && *n != first);
    let second = second.unwrap();
    until(async || is_current(&world, &second).await).await;
    assert_eq!(volume(&world).await.receivers().collect::<Vec<_>>(), [&second]);
}

#[tokio::test(start_paused = true)]
async fn what_makes_no_sense_is_refused_in_words() {
    let world = shop().await;
    let owner = owner(&world).await;
    let control = world.control();
    let often = Wish { every: Some(Duration::from_millis(10)), copies: Some(1), ..Wish::default() };
    let many = Wish { copies: Some(90), ..Wish::default() };
    for (name, wish, part) in [
        ("shop", to(owner.as_str()), "owns volume `shop.data`"),
        ("shop", to("n9"), "there is no node `n9`"),
        ("nothing", to("n2"), "no app and no volume `nothing`"),
        ("shop", Wish::default(), "say where"),
        ("shop", often, "every 1s at the most"),
        ("shop", many, "are too many"),
    ] {
        let refused = control.add_replicas(name, &wish).await.unwrap_err().to_string();
        assert!(refused.contains(part), "{refused}");
    }
    assert_eq!(volume(&world).await.replication, None);
}
