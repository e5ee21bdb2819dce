//! What is left on nodes that died in the middle, or were away when something was removed: it goes when they are back,
//! and nothing else does.

use std::time::Duration;

use flocker_model::{NodeName, OperationState, VolumeName};
use flocker_ports::Backend as _;
use flocker_sim::{Trap, Victim, World};
use tokio::time::{Instant, sleep};

use crate::pretend::*;

async fn nothing_is_written_down_as_left(world: &World) {
    until(|| async { world.state().await.unwrap().leftovers.is_empty() }).await;
}

/// Kills a node and waits until the leader takes it for dead.
async fn killed(world: &World, name: &NodeName) -> Victim {
    let victim = Victim::Node(name.clone());
    world.kill(&victim);
    until(|| async { !world.control().seen(name).unwrap().alive() }).await;
    victim
}

#[tokio::test(start_paused = true)]
async fn what_an_undone_deployment_left_on_a_dead_node_goes_when_the_node_is_back() {
    for step in ["create-volumes", "prepare"] {
        println!("{step}");
        let world = booted().await;
        let victim = Victim::Node(node("n2"));
        world.set_trap(Trap { step: step.into(), after: true, victim: Victim::Leader });
        let id = deployed(&world, &shop_on("n2")).await;
        until(|| async { !world.trap_is_set() }).await;
        world.kill(&victim);
        world.revive(&Victim::Leader).unwrap();

        let operation = ended(&world, &id).await;

        assert!(matches!(operation.state, OperationState::Aborted { .. }), "{operation:?}");
        let state = world.state().await.unwrap();
        assert!(state.apps.is_empty() && state.volumes.is_empty(), "{:?}", state.volumes);
        assert!(!world.backend(&node("n2")).unwrap().volumes().await.unwrap().is_empty());
        world.revive(&victim).unwrap();
        nothing_is_written_down_as_left(&world).await;
        nothing_left_on(&world, &node("n2")).await;
        // Nothing of before stands in the way of the same app.
        let again = deployed(&world, &shop_on("n2")).await;
        assert_eq!(ended(&world, &again).await.state, OperationState::Done);
    }
}

/// Given a node dies before a new app ran on it for the first time, nobody waits for ever, and it runs when the node is
/// back.
#[tokio::test(start_paused = true)]
async fn an_app_that_could_not_be_started_is_free_again_and_started_when_its_node_is_back() {
    let world = booted().await;
    let victim = Victim::Node(node("n2"));
    world.set_trap(Trap { step: "start".into(), after: false, victim: victim.clone() });

    let id = deployed(&world, &shop_on("n2")).await;
    let operation = ended(&world, &id).await;

    let OperationState::Failed { reason } = operation.state else { panic!("{operation:?}") };
    assert!(reason.contains("node `n2`"), "{reason}");
    assert_eq!(world.state().await.unwrap().apps[&app()].value.operation, None);
    world.revive(&victim).unwrap();
    until(|| async { world.write(&node("n1"), &redis(), "rec-0", b"x").is_ok() }).await;
    settled(&world, &[0]).await;
}

#[tokio::test(start_paused = true)]
async fn an_undone_update_leaves_no_volume_behind_and_touches_no_other() {
    let world = booted().await;
    let first = shop_on("n2");
    let id = deployed(&world, &first).await;
    assert_eq!(ended(&world, &id).await.state, OperationState::Done);
    world.write(&node("n1"), &redis(), "rec-0", b"precious").unwrap();
    let more = first
        .replace("volumes: ['data:/data']", "volumes: ['data:/data', 'more:/more']")
        .replace("volumes:\n  data:", "volumes:\n  more: {}\n  data:");
    let victim = Victim::Node(node("n2"));
    world.set_trap(Trap { step: "create-volumes".into(), after: true, victim: victim.clone() });

    let id = deployed(&world, &more).await;
    let operation = ended(&world, &id).await;
    assert!(matches!(operation.state, OperationState::Aborted { .. }), "{operation:?}");
    assert_eq!(world.backend(&node("n2")).unwrap().volumes().await.unwrap().len(), 2);
    world.revive(&victim).unwrap();

    nothing_is_written_down_as_left(&world).await;
    assert_eq!(world.backend(&node("n2")).unwrap().volumes().await.unwrap().len(), 1);
    settled(&world, &[0]).await;
}

#[tokio::test(start_paused = true)]
async fn an_app_on_a_dead_node_can_be_removed_and_goes_there_when_the_node_is_back() {
    for volumes in [true, false] {
        println!("with its volumes: {volumes}");
        let world = booted().await;
        let id = deployed(&world, &shop_on("n2")).await;
        assert_eq!(ended(&world, &id).await.state, OperationState::Done);
        let victim = killed(&world, &node("n2")).await;

        let asked = Instant::now();
        let id = world.control().remove(&app(), volumes).await.unwrap();
        let operation = ended(&world, &id).await;

        assert_eq!(operation.state, OperationState::Done);
        assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
        let said: Vec<_> =
            operation.report.phases.iter().filter_map(|p| p.trouble.clone()).collect();
        assert!(said.concat().contains("containers of app `shop` on node `n2`"), "{said:?}");
        let state = world.state().await.unwrap();
        assert_eq!(state.leftovers.len(), 1 + usize::from(volumes), "{:?}", state.leftovers);
        assert!(state.apps.is_empty() && state.volumes.is_empty() == volumes, "{state:?}");
        world.revive(&victim).unwrap();
        nothing_is_written_down_as_left(&world).await;
        assert_eq!(world.engine(&node("n2")).unwrap().containers(), []);
        let kept = world.backend(&node("n2")).unwrap().volumes().await.unwrap().len();
        assert_eq!(kept, usize::from(!volumes));
    }
}

/// Given an app was removed while its node was away, the same app lives anew elsewhere when that node is back.
#[tokio::test(start_paused = true)]
async fn an_app_that_was_deployed_anew_is_not_touched_by_what_is_removed_of_its_old_life() {
    for place in ["n2", "n3"] {
        println!("anew on {place}");
        let world = booted().await;
        let id = deployed(&world, &shop_on("n2")).await;
        assert_eq!(ended(&world, &id).await.state, OperationState::Done);
        let victim = killed(&world, &node("n2")).await;
        let id = world.control().remove(&app(), true).await.unwrap();
        assert_eq!(ended(&world, &id).await.state, OperationState::Done);

        let manifest = shop_on(place);
        // On the node that is back it waits for a place until then; both begin at once.
        let _ = world.control().deploy(&manifest, None).await.unwrap();
        world.revive(&victim).unwrap();

        assert_eq!(last(&world).await, OperationState::Done);
        until(|| async { world.write(&node("n1"), &redis(), "rec-0", b"new").is_ok() }).await;
        nothing_is_written_down_as_left(&world).await;
        sleep(Duration::from_secs(10)).await;
        settled(&world, &[0]).await;
        for name in ["n1", "n2", "n3"].map(node) {
            let n_copies = world.backend(&name).unwrap().volumes().await.unwrap().len();
            assert_eq!(n_copies, usize::from(name == node(place)), "copies on {name}");
        }
    }
}

/// Given a move was committed and its target died for good, or was going back when its source did: the app can be removed
/// nevertheless.
#[tokio::test(start_paused = true)]
async fn an_app_whose_move_waits_for_a_dead_node_can_be_removed() {
    for (step, of_source) in [("promote", false), ("seal", true)] {
        println!("{step}, of the source: {of_source}");
        let world = shop().await;
        let (source, target) = (owner(&world).await, another(&owner(&world).await));
        let victim = Victim::Node(if of_source { source.clone() } else { target.clone() });
        world.set_trap(Trap { step: step.into(), after: of_source, victim: victim.clone() });
        let moving = world.control().move_app(&app(), Some(&target)).await.unwrap().0;
        sleep(Duration::from_secs(60)).await;
        assert!(!world.state().await.unwrap().operations[&moving].state.is_final());

        let id = world.control().remove(&app(), true).await.unwrap();
        assert_eq!(ended(&world, &id).await.state, OperationState::Done);

        let given_up = world.state().await.unwrap().operations[&moving].state.clone();
        assert!(matches!(given_up, OperationState::Failed { .. }), "{given_up:?}");
        world.revive(&victim).unwrap();
        nothing_is_written_down_as_left(&world).await;
        sleep(Duration::from_secs(10)).await;
        for name in ["n1", "n2", "n3"].map(node) {
            nothing_left_on(&world, &name).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_engine_is_dead_is_waited_for_a_minute_and_then_left() {
    let world = booted().await;
    let id = deployed(&world, &shop_on("n2")).await;
    assert_eq!(ended(&world, &id).await.state, OperationState::Done);
    let engine = world.engine(&node("n2")).unwrap();
    engine.set_dead(true);

    let id = world.control().remove(&app(), true).await.unwrap();
    sleep(Duration::from_secs(30)).await;
    let waiting = world.state().await.unwrap().operations[&id].state.clone();
    let OperationState::Waiting { reason } = waiting else { panic!("{waiting:?}") };
    assert!(reason.contains("container engine"), "{reason}");
    assert_eq!(ended(&world, &id).await.state, OperationState::Done);
    engine.set_dead(false);

    nothing_is_written_down_as_left(&world).await;
    nothing_left_on(&world, &node("n2")).await;
}

/// Given a node still runs an app that was removed while it was away, and nobody told it so before the app is deployed
/// there anew, with the same data.
#[tokio::test(start_paused = true)]
async fn an_old_life_of_an_app_ends_before_its_new_one_begins() {
    let world = booted().await;
    let id = deployed(&world, &shop_on("n2")).await;
    assert_eq!(ended(&world, &id).await.state, OperationState::Done);
    world.write(&node("n1"), &redis(), "rec-0", b"precious").unwrap();
    let victim = killed(&world, &node("n2")).await;
    let id = world.control().remove(&app(), false).await.unwrap();
    assert_eq!(ended(&world, &id).await.state, OperationState::Done);
    let cluster = world.cluster();
    cluster.commit(cluster.change().forget("leftover/n2/app/shop".to_owned())).await.unwrap();

    world.revive(&victim).unwrap();
    until(|| async { world.control().seen(&node("n2")).unwrap().alive() }).await;
    assert_eq!(world.engine(&node("n2")).unwrap().running().len(), 1);
    let id = deployed(&world, &shop_on("n2")).await;

    assert_eq!(ended(&world, &id).await.state, OperationState::Done);
    settled(&world, &[0]).await;
}

#[tokio::test(start_paused = true)]
async fn a_removal_does_not_wait_for_a_node_that_never_ran_the_app() {
    let world = shop().await;
    let other = another(&owner(&world).await);
    world.engine(&other).unwrap().set_dead(true);

    let asked = Instant::now();
    let id = world.control().remove(&app(), true).await.unwrap();
    assert_eq!(ended(&world, &id).await.state, OperationState::Done);

    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    world.engine(&other).unwrap().set_dead(false);
    nothing_is_written_down_as_left(&world).await;
}

#[tokio::test(start_paused = true)]
async fn an_app_whose_manifest_cannot_be_read_is_removed_and_its_volumes_stay() {
    let world = shop().await;
    let at = owner(&world).await;
    world.write(&node("n1"), &redis(), "rec-0", b"precious").unwrap();
    let known = world.state().await.unwrap().apps[&app()].clone();
    let mut record = known.value;
    record.manifest = "from: the future\n".to_owned();
    let cluster = world.cluster();
    cluster.commit(cluster.change().replace(known.revision, &record)).await.unwrap();

    let id = world.control().remove(&app(), true).await.unwrap();
    let operation = ended(&world, &id).await;

    let OperationState::Failed { reason } = operation.state else { panic!("{operation:?}") };
    assert!(reason.contains("`shop.data`"), "{reason}");
    let state = world.state().await.unwrap();
    assert!(state.apps.is_empty());
    let volume = &state.volumes[&VolumeName::new("shop.data").unwrap()].value;
    assert_eq!((volume.app.clone(), volume.owner.clone()), (None, Some(at.clone())));
    assert_eq!(world.engine(&at).unwrap().containers(), []);
    assert_eq!(world.backend(&at).unwrap().volumes().await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_leader_killed_while_a_volume_is_made_or_removed_leaves_all_of_it_or_nothing() {
    for (step, after) in [("create-volumes", false), ("create-volumes", true)] {
        println!("{step}, after: {after}");
        let world = booted().await;
        world.set_trap(Trap { step: step.into(), after, victim: Victim::Leader });
        let control = world.control();
        let name = VolumeName::new("photos").unwrap();
        // Whoever asks goes away with the leader.
        let asked = tokio::spawn(async move {
            let size = flocker_model::ByteSize(64 << 20);
            control.create_volume(&name, size.into(), None, Some(&node("n2"))).await
        });
        until(|| async { !world.trap_is_set() }).await;
        asked.abort();
        world.revive(&Victim::Leader).unwrap();

        nothing_is_written_down_as_left(&world).await;
        let copies = world.backend(&node("n2")).unwrap().volumes().await.unwrap().len();
        assert_eq!(copies, world.state().await.unwrap().volumes.len());
    }
    for after in [false, true] {
        println!("removed, after: {after}");
        let world = booted().await;
        let name = volume_on(&world, "photos", "n2").await;
        world.set_trap(Trap { step: "destroy-volumes".into(), after, victim: Victim::Leader });
        let control = world.control();
        let asked = tokio::spawn(async move { control.remove_volume(&name).await });
        until(|| async { !world.trap_is_set() }).await;
        asked.abort();
        world.revive(&Victim::Leader).unwrap();

        nothing_is_written_down_as_left(&world).await;
        nothing_left_on(&world, &node("n2")).await;
    }
}

/// Given a node lost its journal and kept its pool and its containers, or not even these.
#[tokio::test(start_paused = true)]
async fn an_app_whose_node_lost_its_journal_is_started_again_with_its_data() {
    for containers_too in [false, true] {
        println!("containers too: {containers_too}");
        let world = shop().await;
        let at = owner(&world).await;
        world.write(&node("n1"), &redis(), "rec-0", b"precious").unwrap();
        let victim = killed(&world, &at).await;
        world.lose_journal(&at).unwrap();
        let engine = world.engine(&at).unwrap();
        for container in engine.containers().into_iter().filter(|_| containers_too) {
            engine.lose(&container.id);
        }

        world.revive(&victim).unwrap();

        until(|| async { world.write(&node("n1"), &redis(), "rec-1", b"x").is_ok() }).await;
        settled(&world, &[0, 1]).await;
        // It is looked after again.
        let (container, _) = engine.running().into_iter().next().unwrap();
        engine.crash(&container.id, 1);
        until(|| async { world.write(&node("n1"), &redis(), "rec-2", b"x").is_ok() }).await;
        let n_starts = world.heard().iter().filter(|h| h.ends_with(" start")).count();
        sleep(Duration::from_secs(30)).await;
        let later = world.heard().iter().filter(|h| h.ends_with(" start")).count();
        assert_eq!(n_starts, later, "it is told again and again");
        assert_eq!(later, 2, "{:?}", world.heard());
    }
}
