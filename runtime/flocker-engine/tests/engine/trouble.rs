//! Nodes and container engines that hang, die at a bad moment, or come back late.

use std::time::Duration;

use flocker_engine::control::Deployed;
use flocker_model::{OperationState, Phase};
use flocker_sim::{Trap, Victim};
use tokio::time::{Instant, sleep, timeout};

use crate::pretend::*;

/// The container engine of the source or of the target is away for a while, from a phase on.
async fn engine_dies(phase: Phase, of_source: bool, away: Duration) {
    let world = shop().await;
    let (source, target) = (owner(&world).await, another(&owner(&world).await));
    let client = Client::start(world.clone(), node("n1"));
    sleep(Duration::from_millis(300)).await;
    let engine = world.engine(if of_source { &source } else { &target }).unwrap();

    let id = world.control().move_app(&app(), Some(&target)).await.unwrap().0;
    while world.state().await.unwrap().operations[&id].phase < phase {
        sleep(Duration::from_millis(1)).await;
    }
    engine.set_dead(true);
    sleep(away).await;
    engine.set_dead(false);
    let operation = ended(&world, &id).await;

    match operation.state {
        OperationState::Done => assert_eq!(owner(&world).await, target),
        OperationState::Aborted { .. } => assert_eq!(owner(&world).await, source),
        other => panic!("{phase} {of_source}: {other:?}"),
    }
    sleep(Duration::from_secs(2)).await;
    let acknowledged = client.end().await;
    settled(&world, &acknowledged).await;
}

#[tokio::test(start_paused = true)]
async fn a_container_engine_that_is_away_for_a_moment_loses_nothing() {
    for phase in Phase::ALL {
        for of_source in [true, false] {
            println!("{phase}, of the source: {of_source}");
            engine_dies(phase, of_source, Duration::from_secs(2)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_container_engine_that_is_away_for_long_loses_nothing() {
    for phase in [Phase::Prepare, Phase::Park, Phase::Stop, Phase::Commit, Phase::Start] {
        for of_source in [true, false] {
            println!("{phase}, of the source: {of_source}");
            engine_dies(phase, of_source, Duration::from_secs(30)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_target_that_dies_after_the_commit_is_waited_for() {
    for step in ["promote", "start"] {
        let world = shop().await;
        let target = another(&owner(&world).await);
        let client = Client::start(world.clone(), node("n1"));
        sleep(Duration::from_millis(300)).await;
        world.set_trap(Trap {
            step: step.to_owned(),
            after: false,
            victim: Victim::Node(target.clone()),
        });

        let id = world.control().move_app(&app(), Some(&target)).await.unwrap().0;
        sleep(Duration::from_secs(300)).await;
        let waiting = world.state().await.unwrap();
        assert!(
            matches!(waiting.operations[&id].state, OperationState::Waiting { .. }),
            "{:?}",
            waiting.operations[&id].state
        );
        // Ten seconds in a hurry, the rest once a second: not one record more than needed.
        assert!(waiting.revision.0 < 800, "{} revisions", waiting.revision);
        world.revive(&Victim::Node(target.clone())).unwrap();

        assert_eq!(ended(&world, &id).await.state, OperationState::Done);
        assert_eq!(owner(&world).await, target);
        sleep(Duration::from_secs(2)).await;
        let acknowledged = client.end().await;
        settled(&world, &acknowledged).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_hangs_with_containers_to_be_removed_delays_nobody() {
    let world = shop().await;
    let target = another(&owner(&world).await);
    let trap = Trap { step: "prepare".into(), after: true, victim: Victim::Node(target.clone()) };
    world.set_trap(trap);
    let id = world.control().move_app(&app(), Some(&target)).await.unwrap().0;
    until(|| async { !world.trap_is_set() }).await;
    world.control().abort(&id).await.unwrap();
    ended(&world, &id).await;
    // It says what it still has, and then nothing more.
    world.revive(&Victim::Node(target.clone())).unwrap();
    until(|| async { !world.engine(&target).unwrap().containers().is_empty() }).await;
    until(|| async {
        let seen = world.control().seen(&target);
        seen.is_some_and(|s| s.alive() && s.observation.apps.is_some_and(|a| !a.is_empty()))
    })
    .await;
    world.set_hung(&target, true);
    sleep(Duration::from_secs(2)).await;

    let other = format!(
        "name: other\nservices:\n  one: {{ image: one }}\nx-flocker: {{ placement: {{ nodes: [{}] }} }}\n",
        owner(&world).await
    );
    let (_, deployed) = world.control().deploy(&other, None).await.unwrap();

    let Deployed::Begun(id) = deployed else { panic!("{deployed:?}") };
    let asked = Instant::now();
    assert_eq!(ended(&world, &id).await.state, OperationState::Done);
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_order_to_a_node_that_hangs_is_given_up() {
    let world = shop().await;
    let (source, target) = (owner(&world).await, another(&owner(&world).await));
    let client = Client::start(world.clone(), node("n1"));
    sleep(Duration::from_millis(300)).await;
    world.set_hung(&target, true);

    let id = world.control().move_app(&app(), Some(&target)).await.unwrap().0;
    let operation = ended(&world, &id).await;

    assert!(matches!(operation.state, OperationState::Aborted { .. }), "{operation:?}");
    assert_eq!(owner(&world).await, source);
    world.set_hung(&target, false);
    sleep(Duration::from_secs(2)).await;
    let acknowledged = client.end().await;
    settled(&world, &acknowledged).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_cannot_be_emptied_is_not_tried_without_a_pause() {
    let world = shop().await;
    let source = owner(&world).await;
    for name in ["n1", "n2", "n3"].map(node).into_iter().filter(|n| *n != source) {
        world.engine(&name).unwrap().set_dead(true);
    }

    world.control().set_draining(&source, true).await.unwrap();
    sleep(Duration::from_secs(600)).await;

    let n_moves = world.state().await.unwrap().operations.len() - 1;
    assert!((2..=6).contains(&n_moves), "{n_moves} moves in ten minutes");
    for name in ["n1", "n2", "n3"].map(node) {
        world.engine(&name).unwrap().set_dead(false);
    }
    let emptied = until(|| async { owner(&world).await != source });
    timeout(Duration::from_secs(180), emptied).await.unwrap();
}

/// Given the source dies right after the commit: the app is free again after a while, can move on, and what the source
/// still has becomes a replica when it is back, so that the app can return to it.
#[tokio::test(start_paused = true)]
async fn a_source_that_stays_away_after_a_move_holds_nobody_and_is_tidied_up_later() {
    let world = shop().await;
    let (source, target) = (owner(&world).await, another(&owner(&world).await));
    let third = ["n1", "n2", "n3"].map(node).into_iter().find(|n| *n != source && *n != target);
    let third = third.unwrap();
    world.write(&target, &redis(), "rec-0", b"precious").unwrap();
    let victim = Victim::Node(source.clone());
    world.set_trap(Trap { step: "retire".to_owned(), after: false, victim: victim.clone() });

    let away = world.control().move_app(&app(), Some(&target)).await.unwrap().0;
    assert_eq!(ended(&world, &away).await.state, OperationState::Done);
    let on = world.control().move_app(&app(), Some(&third)).await.unwrap().0;
    assert_eq!(ended(&world, &on).await.state, OperationState::Done);
    world.revive(&victim).unwrap();
    sleep(Duration::from_secs(15)).await;

    let back = world.control().move_app(&app(), Some(&source)).await.unwrap().0;
    assert_eq!(ended(&world, &back).await.state, OperationState::Done);
    settled(&world, &[0]).await;
}
