//! An operator who changes their mind, at each phase of a move.

use std::time::Duration;

use flocker_engine::control::Refusal;
use flocker_model::{OperationState, Phase, VolumeName};
use flocker_ports::Backend as _;
use tokio::time::sleep;

use crate::pretend::*;

/// Asks to abort as soon as the move is seen in the phase.
async fn aborted_at(phase: Phase) {
    let world = shop().await;
    let (source, target) = (owner(&world).await, another(&owner(&world).await));
    let client = Client::start(world.clone(), node("n1"));
    sleep(Duration::from_millis(300)).await;

    let id = world.control().move_app(&app(), Some(&target)).await.unwrap().0;
    let asked: Result<(), Refusal> = loop {
        let operation = world.state().await.unwrap().operations[&id].clone();
        if operation.phase >= phase {
            break world.control().abort(&id).await;
        }
        sleep(Duration::from_millis(1)).await;
    };
    let operation = ended(&world, &id).await;

    match operation.state {
        OperationState::Aborted { .. } => {
            assert!(asked.is_ok() && phase < Phase::Commit, "{phase}: {asked:?}");
            assert_eq!(owner(&world).await, source);
        }
        OperationState::Done => {
            let refusal = asked.unwrap_err();
            assert_eq!(refusal.code, "point-of-no-return");
            assert!(phase >= Phase::Delta, "{phase} was too late to abort: {refusal}");
            assert_eq!(owner(&world).await, target);
        }
        other => panic!("{phase}: {other:?}"),
    }
    sleep(Duration::from_secs(3)).await;
    let acknowledged = client.end().await;
    settled(&world, &acknowledged).await;
    assert_eq!(world.refused(), Vec::<String>::new(), "an order of ours was refused");
    for name in ["n1", "n2", "n3"].map(node) {
        let seen = world.control().seen(&name).unwrap().observation;
        assert_eq!(seen.sending, [], "{name} lists a stream that nobody sends");
    }
    let volume = world.state().await.unwrap().volumes[&VolumeName::new("shop.data").unwrap()]
        .value
        .id
        .clone();
    for name in [source, target] {
        let kept = world.backend(&name).unwrap().snapshots(&volume).await.unwrap_or_default().len();
        assert!(kept <= 1, "{name} keeps {kept} snapshots after a move that ended at {phase}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_move_can_be_aborted_at_each_phase_before_its_commit_and_leaves_nothing() {
    for phase in Phase::ALL {
        aborted_at(phase).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_undone_move_copied_goes_with_the_app() {
    let world = shop().await;
    let target = another(&owner(&world).await);
    let id = world.control().move_app(&app(), Some(&target)).await.unwrap().0;
    until(|| async { world.state().await.unwrap().operations[&id].phase >= Phase::Prepare }).await;
    world.control().abort(&id).await.unwrap();
    ended(&world, &id).await;
    sleep(Duration::from_secs(2)).await;

    let gone = world.control().remove(&app(), true).await.unwrap();

    assert_eq!(ended(&world, &gone).await.state, OperationState::Done);
    for name in ["n1", "n2", "n3"].map(node) {
        assert_eq!(
            world.backend(&name).unwrap().volumes().await.unwrap(),
            [],
            "{name} keeps a copy"
        );
        assert_eq!(world.engine(&name).unwrap().containers(), [], "{name} keeps containers");
    }
}
