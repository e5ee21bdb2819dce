//! Moves in a pretend cluster, with a client that writes all the time and remembers what was acknowledged.

use std::time::Duration;

use flocker_model::{OperationState, VolumeName};
use flocker_sim::{Trap, Victim};
use tokio::time::sleep;

use crate::pretend::*;

#[tokio::test(start_paused = true)]
async fn a_move_loses_nothing_and_refuses_nobody() {
    let world = shop().await;
    let (source, target) = (owner(&world).await, another(&owner(&world).await));
    let client = Client::start(world.clone(), node("n1"));
    sleep(Duration::from_millis(300)).await;

    let id = world.control().move_app(&app(), Some(&target)).await.unwrap().0;
    let operation = ended(&world, &id).await;

    assert_eq!(operation.state, OperationState::Done);
    assert_eq!(owner(&world).await, target);
    let phases: Vec<_> = operation.report.phases.iter().map(|p| p.phase.as_str()).collect();
    assert_eq!(
        phases,
        [
            "planned", "seed", "converge", "prepare", "park", "stop", "seal", "delta", "commit",
            "promote", "start", "unpark", "reverse"
        ]
    );
    assert!(
        operation.report.bytes().0 > 0 && operation.report.rounds.len() >= 3,
        "{:?}",
        operation.report
    );
    sleep(Duration::from_secs(1)).await;
    let acknowledged = client.end().await;
    assert!(acknowledged.len() > 50, "{}", acknowledged.len());
    settled(&world, &acknowledged).await;
    let state = world.state().await.unwrap();
    let volume = &state.volumes[&VolumeName::new("shop.data").unwrap()].value;
    assert_eq!(volume.replicas.iter().map(|r| &r.node).collect::<Vec<_>>(), [&source]);
}

#[tokio::test(start_paused = true)]
async fn moving_back_sends_only_what_changed() {
    let world = shop().await;
    let (source, target) = (owner(&world).await, another(&owner(&world).await));
    for number in 0..200 {
        world.write(&node("n1"), &redis(), &format!("old-{number}"), &[1; 10_000]).unwrap();
    }
    let there = world.control().move_app(&app(), Some(&target)).await.unwrap().0;
    let there = ended(&world, &there).await;
    until(|| async { world.write(&node("n1"), &redis(), "rec-0", b"new").is_ok() }).await;

    let back = world.control().move_app(&app(), Some(&source)).await.unwrap().0;
    let back = ended(&world, &back).await;

    assert_eq!(back.state, OperationState::Done);
    let (first, second) = (there.report.bytes().0, back.report.bytes().0);
    assert!(second * 10 < first, "{second} bytes back, {first} bytes there");
    settled(&world, &[0]).await;
}

#[tokio::test(start_paused = true)]
async fn an_operator_can_abort_a_move_before_its_commit() {
    let world = shop().await;
    let (source, target) = (owner(&world).await, another(&owner(&world).await));
    let client = Client::start(world.clone(), node("n1"));
    sleep(Duration::from_millis(300)).await;
    // A target that is killed while it prepares keeps the move where it is until somebody decides.
    world.set_trap(Trap {
        step: "prepare".into(),
        after: false,
        victim: Victim::Node(target.clone()),
    });

    let id = world.control().move_app(&app(), Some(&target)).await.unwrap().0;
    until(|| async { !world.trap_is_set() }).await;
    world.control().abort(&id).await.unwrap();
    let operation = ended(&world, &id).await;

    assert_eq!(
        operation.state,
        OperationState::Aborted { reason: "an operator asked to abort".into() }
    );
    assert_eq!(owner(&world).await, source);
    world.revive(&Victim::Node(target)).unwrap();
    sleep(Duration::from_secs(3)).await;
    let acknowledged = client.end().await;
    settled(&world, &acknowledged).await;
}

/// Every step that a move gives to a node, in their order.
const STEPS: [&str; 11] = [
    "snapshot",
    "list-snapshots",
    "send",
    "prepare",
    "await-routes",
    "stop",
    "seal",
    "promote",
    "start",
    "retire",
    "destroy-snapshots",
];

/// Kills one party at one point of a move, starts it again a moment later, and looks at what is left.
async fn killed_and_revived(step: &str, after: bool, who: &str) {
    let world = shop().await;
    let (source, target) = (owner(&world).await, another(&owner(&world).await));
    // The client's own node lives: it is neither source nor target.
    let via =
        ["n1", "n2", "n3"].map(node).into_iter().find(|n| *n != source && *n != target).unwrap();
    let client = Client::start(world.clone(), via);
    sleep(Duration::from_millis(300)).await;
    let victim = match who {
        "leader" => Victim::Leader,
        "source" => Victim::Node(source.clone()),
        _ => Victim::Node(target.clone()),
    };
    world.set_trap(Trap { step: step.to_owned(), after, victim: victim.clone() });

    let id = world.control().move_app(&app(), Some(&target)).await.unwrap().0;
    until(|| async {
        let over = world.state().await.unwrap().operations[&id].state.is_final();
        over || !world.trap_is_set()
    })
    .await;
    assert!(!world.trap_is_set(), "the move ended without {step}");
    sleep(Duration::from_millis(700)).await;
    world.revive(&victim).unwrap();
    let operation = ended(&world, &id).await;

    let at = owner(&world).await;
    match operation.state {
        OperationState::Done => assert_eq!(at, target),
        OperationState::Aborted { .. } => assert_eq!(at, source),
        other => panic!("{other:?}"),
    }
    sleep(Duration::from_secs(2)).await;
    let acknowledged = client.end().await;
    settled(&world, &acknowledged).await;
}

/// Given one party dies at one point of a move, the move is finished or undone, and nothing is lost: at every point.
async fn every_step(who: &str) {
    for step in STEPS {
        for after in [false, true] {
            println!("{who} killed {} {step}", if after { "after" } else { "before" });
            killed_and_revived(step, after, who).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_killed_at_any_step_finishes_or_undoes_the_move() {
    every_step("leader").await;
}

#[tokio::test(start_paused = true)]
async fn a_source_killed_at_any_step_resumes_from_its_journal() {
    every_step("source").await;
}

#[tokio::test(start_paused = true)]
async fn a_target_killed_at_any_step_resumes_from_its_journal() {
    every_step("target").await;
}
