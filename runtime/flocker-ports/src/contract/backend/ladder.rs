//! Live, sealed, replica, and live again.

use flocker_model::{Guid, Point, Role};

use super::{ONE, Pair, THREE, TWO, copy, made, noise, op, points, role, snap, tag};
use crate::{BackendError, Change};

/// Sealing twice seals once; writers are refused until it is taken back.
pub async fn seal_stops_writers_and_unseal_lets_them_go_on(pair: Pair<'_>) {
    let volume = made(pair.source, "seal").await;
    let at = pair.source.attach(&op(ONE), &volume).await.unwrap();
    pair.content.write(&at, "a", b"before").unwrap();

    assert_eq!(pair.source.seal(&op(ONE), &volume).await.unwrap(), Change::Made);
    assert_eq!(pair.source.seal(&op(ONE), &volume).await.unwrap(), Change::None);

    assert!(pair.content.write(&at, "a", b"during").is_err());
    let attached = pair.source.attach(&op(ONE), &volume).await;
    assert!(matches!(attached, Err(BackendError::WrongRole { .. })), "got {attached:?}");
    assert_eq!(role(pair.source, &volume).await, (Role::Sealed, ONE));
    // The last snapshot of a move is taken now.
    snap(pair.source, &volume, ONE, "sealed").await;

    assert_eq!(pair.source.unseal(&op(ONE), &volume).await.unwrap(), Change::Made);
    assert_eq!(pair.source.unseal(&op(ONE), &volume).await.unwrap(), Change::None);

    assert_eq!(role(pair.source, &volume).await, (Role::Live, ONE));
    assert_eq!(pair.get(pair.source, &volume, ONE, "a").await, b"before");
    pair.put(pair.source, &volume, ONE, "a", b"after").await;
    assert_eq!(pair.get(pair.source, &volume, ONE, "a").await, b"after");
}

/// A live copy may hold more than its snapshots, and a sealed one may still be the only one.
pub async fn retire_needs_a_seal_and_a_newer_epoch(pair: Pair<'_>) {
    let volume = made(pair.source, "retire").await;
    pair.put(pair.source, &volume, ONE, "a", b"a").await;
    let live = snap(pair.source, &volume, ONE, "live").await.point;

    let refused = pair.source.retire(&op(TWO), &volume, &live).await;
    assert!(matches!(refused, Err(BackendError::WrongRole { .. })), "got {refused:?}");
    pair.put(pair.source, &volume, ONE, "a", b"b").await;
    pair.source.seal(&op(ONE), &volume).await.unwrap();
    let sealed = snap(pair.source, &volume, ONE, "sealed").await.point;
    let refused = pair.source.retire(&op(ONE), &volume, &sealed).await;
    assert!(matches!(refused, Err(BackendError::StaleEpoch { .. })), "got {refused:?}");
    let refused = pair.source.retire(&op(TWO), &volume, &live).await;
    assert!(matches!(refused, Err(BackendError::Diverged { .. })), "got {refused:?}");
    assert_eq!(role(pair.source, &volume).await, (Role::Sealed, ONE));

    assert_eq!(pair.source.retire(&op(TWO), &volume, &sealed).await.unwrap(), Change::Made);
    assert_eq!(pair.source.retire(&op(TWO), &volume, &sealed).await.unwrap(), Change::None);

    assert_eq!(role(pair.source, &volume).await, (Role::Replica, TWO));
    assert_eq!(points(pair.source, &volume).await, [live, sealed]);
}

/// A replica that is further than it should be, or elsewhere, was written to by somebody else.
pub async fn promote_needs_the_newest_snapshot(pair: Pair<'_>) {
    let (volume, one) = pair.replicated("diverged").await;
    let two = snap(pair.source, &volume, ONE, "two").await.point;
    copy(pair.source, pair.target, &volume, Some(&one), &two, ONE).await;

    let other = Point { tag: two.tag.clone(), guid: Guid("of-somebody-else".to_owned()) };
    for wrong in [&one, &other] {
        let refused = pair.target.promote(&op(TWO), &volume, wrong).await;
        assert!(matches!(refused, Err(BackendError::Diverged { .. })), "got {refused:?}");
    }

    assert_eq!(role(pair.target, &volume).await, (Role::Replica, ONE));
    assert_eq!(pair.target.promote(&op(TWO), &volume, &two).await.unwrap(), Change::Made);
    assert_eq!(pair.target.promote(&op(TWO), &volume, &two).await.unwrap(), Change::None);
    assert_eq!(points(pair.target, &volume).await, [one, two]);
    assert_eq!(pair.get(pair.target, &volume, TWO, "a").await, noise(1, 1 << 20));
}

/// The new owner was lost before it wrote anything, and the old one takes over again.
pub async fn a_sealed_copy_can_be_promoted_again(pair: Pair<'_>) {
    let volume = made(pair.source, "reseal").await;
    pair.put(pair.source, &volume, ONE, "a", b"content").await;
    pair.source.seal(&op(ONE), &volume).await.unwrap();
    let last = snap(pair.source, &volume, ONE, "last").await.point;

    assert_eq!(pair.source.promote(&op(TWO), &volume, &last).await.unwrap(), Change::Made);
    assert_eq!(pair.source.promote(&op(TWO), &volume, &last).await.unwrap(), Change::None);

    assert_eq!(role(pair.source, &volume).await, (Role::Live, TWO));
    assert_eq!(pair.get(pair.source, &volume, TWO, "a").await, b"content");
    pair.put(pair.source, &volume, TWO, "a", b"more").await;
    assert_eq!(pair.get(pair.source, &volume, TWO, "a").await, b"more");
}

/// A → B → A: both ways by increments, and the content is the last that was written.
pub async fn a_volume_goes_there_and_back_with_its_content(pair: Pair<'_>) {
    let (volume, one) = pair.replicated("round-trip").await;
    let (here, there) = (pair.source, pair.target);

    pair.put(here, &volume, ONE, "b", &noise(2, 300_000)).await;
    here.seal(&op(ONE), &volume).await.unwrap();
    let two = snap(here, &volume, ONE, "two").await.point;
    copy(here, there, &volume, Some(&one), &two, ONE).await;
    there.promote(&op(TWO), &volume, &two).await.unwrap();
    here.retire(&op(TWO), &volume, &two).await.unwrap();
    assert_eq!(pair.get(there, &volume, TWO, "b").await, noise(2, 300_000));

    pair.put(there, &volume, TWO, "c", &noise(3, 300_000)).await;
    pair.put(there, &volume, TWO, "b", b"changed over there").await;
    there.seal(&op(TWO), &volume).await.unwrap();
    let three = snap(there, &volume, TWO, "three").await.point;
    let back = copy(there, here, &volume, Some(&two), &three, TWO).await;
    here.promote(&op(THREE), &volume, &three).await.unwrap();
    there.retire(&op(THREE), &volume, &three).await.unwrap();

    assert!(back < 1 << 20, "the way back took {back} bytes, although most was here already");
    assert_eq!(pair.get(here, &volume, THREE, "a").await, noise(1, 1 << 20));
    assert_eq!(pair.get(here, &volume, THREE, "b").await, b"changed over there");
    assert_eq!(pair.get(here, &volume, THREE, "c").await, noise(3, 300_000));
    assert_eq!(points(here, &volume).await, points(there, &volume).await);
    assert_eq!(role(there, &volume).await, (Role::Replica, THREE));
    assert!(here.snapshot(&op(THREE), std::slice::from_ref(&volume), &tag("four")).await.is_ok());
}
