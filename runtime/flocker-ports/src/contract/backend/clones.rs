//! Volumes that begin as a snapshot of another one.

use flocker_model::{Guid, Point, Role};

use super::{ONE, Pair, SIZE, TWO, copy, made, noise, op, points, role, snap, state, tag, volume};
use crate::{BackendError, Change};

/// A clone holds what the snapshot held, has the options of its source and no snapshots, and neither sees what is written to
/// the other. It is a volume like any other: it can be replicated.
pub async fn a_clone_begins_as_the_snapshot_and_goes_its_own_way(pair: Pair<'_>) {
    let (on, source, clone) = (pair.source, made(pair.source, "source").await, volume("clone"));
    pair.put(on, &source, ONE, "a", b"then").await;
    let one = snap(on, &source, ONE, "one").await.point;
    pair.put(on, &source, ONE, "a", b"later").await;

    assert_eq!(on.clone_volume(&op(TWO), &source, &one, &clone).await.unwrap(), Change::Made);

    let made = state(on, &clone).await;
    assert_eq!((made.role, made.epoch, made.size), (Role::Live, TWO, SIZE));
    assert_eq!(points(on, &clone).await, []);
    assert_eq!(pair.get(on, &clone, TWO, "a").await, b"then");
    pair.put(on, &clone, TWO, "a", b"other").await;
    assert_eq!(pair.get(on, &source, ONE, "a").await, b"later");
    assert_eq!(points(on, &source).await, std::slice::from_ref(&one));
    // The same name as a snapshot of the source's, and nothing in common with it.
    let own = snap(on, &clone, TWO, "one").await.point;
    assert_ne!(own.guid, one.guid);
    copy(on, pair.target, &clone, None, &own, TWO).await;
    pair.target.promote(&op(super::THREE), &clone, &own).await.unwrap();
    assert_eq!(pair.get(pair.target, &clone, super::THREE, "a").await, b"other");
}

/// Asked for twice it is made once; what is not there cannot be cloned, and what is there is not replaced.
pub async fn a_clone_is_made_once_and_of_what_is_there(pair: Pair<'_>) {
    let (on, source, clone) = (pair.source, made(pair.source, "source").await, volume("clone"));
    let one = snap(on, &source, ONE, "one").await.point;
    let mistaken = Point { tag: one.tag.clone(), guid: Guid("1".to_owned()) };
    let renamed = Point { tag: tag("other"), guid: one.guid.clone() };

    for wrong in [&mistaken, &renamed] {
        let refused = on.clone_volume(&op(TWO), &source, wrong, &clone).await;
        assert!(matches!(refused, Err(BackendError::NoSuchSnapshot { .. })), "got {refused:?}");
    }
    let refused = on.clone_volume(&op(TWO), &volume("nowhere"), &one, &clone).await;
    assert!(matches!(refused, Err(BackendError::NoSuchVolume(_))), "got {refused:?}");
    assert_eq!(on.stat(&clone).await.unwrap(), None);

    assert_eq!(on.clone_volume(&op(TWO), &source, &one, &clone).await.unwrap(), Change::Made);
    pair.put(on, &clone, TWO, "a", b"kept").await;
    assert_eq!(on.clone_volume(&op(TWO), &source, &one, &clone).await.unwrap(), Change::None);
    let stale = on.clone_volume(&op(ONE), &source, &one, &clone).await;
    assert!(matches!(stale, Err(BackendError::StaleEpoch { .. })), "got {stale:?}");
    let taken = on.clone_volume(&op(TWO), &clone, &one, &source).await;
    assert!(matches!(taken, Err(BackendError::WrongRole { .. })), "got {taken:?}");
    assert_eq!(pair.get(on, &clone, TWO, "a").await, b"kept");
    assert_eq!(role(on, &source).await, (Role::Live, ONE));
}

/// The snapshot, and then the whole source, can go; a snapshot of the same name can come; and the clone stays what it is.
pub async fn what_a_clone_was_made_from_can_be_removed(pair: Pair<'_>) {
    let (on, source) = (pair.source, made(pair.source, "source").await);
    let (clone, second) = (volume("clone"), volume("second"));
    pair.put(on, &source, ONE, "a", &noise(1, 100_000)).await;
    let one = snap(on, &source, ONE, "one").await.point;
    let two = snap(on, &source, ONE, "two").await.point;
    on.clone_volume(&op(ONE), &source, &one, &clone).await.unwrap();
    on.clone_volume(&op(ONE), &source, &two, &second).await.unwrap();
    snap(on, &clone, ONE, "one").await;

    let only = std::slice::from_ref(&one);
    assert_eq!(on.destroy_snapshots(&op(ONE), &source, only).await.unwrap(), Change::Made);
    assert_eq!(on.destroy_snapshots(&op(ONE), &source, only).await.unwrap(), Change::None);
    assert_eq!(points(on, &source).await, std::slice::from_ref(&two));
    let again = snap(on, &source, ONE, "one").await.point;
    assert_eq!(points(on, &source).await, [two, again]);
    assert_eq!(on.destroy(&op(ONE), &source).await.unwrap(), Change::Made);

    assert_eq!(on.stat(&source).await.unwrap(), None);
    assert_eq!(points(on, &clone).await.len(), 1);
    assert_eq!(points(on, &second).await, []);
    for left in [&clone, &second] {
        assert_eq!(pair.get(on, left, ONE, "a").await, noise(1, 100_000));
        pair.put(on, left, ONE, "b", b"it can be written").await;
        assert_eq!(on.destroy(&op(ONE), left).await.unwrap(), Change::Made);
        assert_eq!(on.stat(left).await.unwrap(), None);
    }
}

/// Given a clone of a clone, the two before it can be removed in any order.
pub async fn a_clone_of_a_clone_outlives_both(pair: Pair<'_>) {
    let on = pair.source;
    for first_goes_first in [true, false] {
        let (first, middle, last) = (made(on, "first").await, volume("middle"), volume("last"));
        pair.put(on, &first, ONE, "a", b"first").await;
        let one = snap(on, &first, ONE, "one").await.point;
        on.clone_volume(&op(ONE), &first, &one, &middle).await.unwrap();
        pair.put(on, &middle, ONE, "b", b"middle").await;
        let two = snap(on, &middle, ONE, "two").await.point;
        on.clone_volume(&op(ONE), &middle, &two, &last).await.unwrap();

        let (sooner, later) = if first_goes_first { (&first, &middle) } else { (&middle, &first) };
        on.destroy(&op(ONE), sooner).await.unwrap();
        on.destroy(&op(ONE), later).await.unwrap();

        assert_eq!(pair.get(on, &last, ONE, "a").await, b"first");
        assert_eq!(pair.get(on, &last, ONE, "b").await, b"middle");
        assert_eq!((on.stat(&first).await.unwrap(), on.stat(&middle).await.unwrap()), (None, None));
    }
}
