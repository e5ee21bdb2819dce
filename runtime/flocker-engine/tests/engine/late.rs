//! Orders that the network kept back, and containers that take their time.

use std::time::Duration;

use flocker_model::{OperationState, Phase};
use flocker_ports::PeerErrorKind;
use tokio::time::sleep;

use crate::pretend::*;

/// Given an app was stopped and started again by an update, a copy of the order to stop it arrives.
#[tokio::test(start_paused = true)]
async fn an_order_that_others_overtook_is_refused() {
    let world = booted().await;
    let first = shop_on("n2");
    let id = deployed(&world, &first).await;
    assert_eq!(ended(&world, &id).await.state, OperationState::Done);
    let changed = first.replace("restart: always", "restart: always\n    user: '7'");
    let id = deployed(&world, &changed).await;
    assert_eq!(ended(&world, &id).await.state, OperationState::Done);

    let late = world.deliver_again("stop").await.unwrap();

    let error = late.unwrap_err();
    assert_eq!(error.kind, PeerErrorKind::Refused, "{error}");
    world.write(&node("n1"), &redis(), "rec-0", b"x").unwrap();
    sleep(Duration::from_secs(5)).await;
    settled(&world, &[0]).await;
    // The same order twice is no order that was overtaken.
    assert!(world.deliver_again("start").await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_late_order_does_not_bring_a_removed_app_back() {
    let world = shop().await;
    let at = owner(&world).await;
    let id = world.control().remove(&app(), false).await.unwrap();
    assert_eq!(ended(&world, &id).await.state, OperationState::Done);

    let late = world.deliver_again("start").await.unwrap();

    assert_eq!(late.unwrap_err().kind, PeerErrorKind::Refused);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(world.engine(&at).unwrap().containers(), []);
}

#[tokio::test(start_paused = true)]
async fn a_move_that_was_undone_says_which_phase_failed_and_which_container_did_not_end() {
    let world = booted().await;
    let slow = shop_on("n2").replace("[n2]", "[n2, n3]");
    let slow = slow.replace("restart: always", "restart: always\n    stop_grace_period: 40s");
    let id = deployed(&world, &slow).await;
    assert_eq!(ended(&world, &id).await.state, OperationState::Done);
    let source = owner(&world).await;
    world.engine(&source).unwrap().set_stubborn(true);

    let id = world.control().move_app(&app(), None).await.unwrap().0;
    let operation = ended(&world, &id).await;

    let OperationState::Aborted { reason } = &operation.state else { panic!("{operation:?}") };
    assert!(reason.contains("`redis`") && reason.contains(source.as_str()), "{reason}");
    let failed: Vec<_> =
        operation.report.phases.iter().filter(|p| !p.undo && p.trouble.is_some()).collect();
    assert_eq!(failed.len(), 1, "{:?}", operation.report.phases);
    assert_eq!(failed[0].phase, Phase::Stop);
    assert!(failed[0].took > Duration::from_secs(15), "{:?}", failed[0].took);
}
