//! Who was given the volume later wins, at every verb.

use flocker_model::{ByteSize, Epoch, Role};

use super::{ONE, Pair, SIZE, THREE, TWO, made, op, points, role, snap, state, tag, volume};
use crate::BackendError;

/// Given a volume at epoch 2, nothing asked for under epoch 1 happens.
pub async fn stale_epochs_are_refused_everywhere(pair: Pair<'_>) {
    let on = pair.source;
    let volume = volume("stale");
    on.create(&op(TWO), &volume, &SIZE.into(), None).await.unwrap();
    let point = snap(on, &volume, TWO, "one").await.point;
    let old = op(ONE);
    let only = std::slice::from_ref(&volume);

    let refusals = [
        ("create", on.create(&old, &volume, &SIZE.into(), None).await.err()),
        ("resize", on.resize(&old, &volume, ByteSize::mib(1)).await.err()),
        ("destroy", on.destroy(&old, &volume).await.err()),
        ("snapshot", on.snapshot(&old, only, &tag("two")).await.err()),
        (
            "destroy_snapshots",
            on.destroy_snapshots(&old, &volume, std::slice::from_ref(&point)).await.err(),
        ),
        ("attach", on.attach(&old, &volume).await.err()),
        ("seal", on.seal(&old, &volume).await.err()),
        ("unseal", on.unseal(&old, &volume).await.err()),
        ("promote", on.promote(&old, &volume, &point).await.err()),
        ("retire", on.retire(&old, &volume, &point).await.err()),
        ("receive", on.receive(&old, &volume, None, &point, &SIZE.into()).await.err()),
        ("abort_receive", on.abort_receive(&old, &volume).await.err()),
    ];

    for (verb, refusal) in refusals {
        assert!(matches!(refusal, Some(BackendError::StaleEpoch { .. })), "{verb}: {refusal:?}");
    }
    let after = state(on, &volume).await;
    assert_eq!((after.role, after.epoch, after.size), (Role::Live, TWO, SIZE));
    assert_eq!(points(on, &volume).await, [point]);
}

/// An agent that was told of a newer epoch does not get the older copy to write to.
pub async fn only_the_exact_epoch_attaches(pair: Pair<'_>) {
    let volume = made(pair.source, "exact").await;

    let refused = pair.source.attach(&op(TWO), &volume).await;

    assert!(matches!(refused, Err(BackendError::WrongRole { .. })), "got {refused:?}");
    assert!(pair.source.attach(&op(ONE), &volume).await.is_ok());
}

/// A copy that was not yet given to anybody newer cannot be promoted again under the epoch it has seen.
pub async fn promote_needs_a_newer_epoch(pair: Pair<'_>) {
    let (volume, one) = pair.replicated("old-promote").await;

    for stale in [Epoch(0), ONE] {
        let refused = pair.target.promote(&op(stale), &volume, &one).await;
        assert!(matches!(refused, Err(BackendError::StaleEpoch { .. })), "got {refused:?}");
    }

    assert_eq!(role(pair.target, &volume).await, (Role::Replica, ONE));
    pair.target.promote(&op(THREE), &volume, &one).await.unwrap();
    assert_eq!(role(pair.target, &volume).await, (Role::Live, THREE));
}
