//! Back to a snapshot, and nothing is lost by it.

use flocker_model::{Guid, Point, Role, VolumeId};

use super::{ONE, Pair, SIZE, TWO, copy, made, op, points, role, snap, state, tag, volume};
use crate::{BackendError, Change};

/// Given a volume with snapshots `one` and `two`, and in its file `a` how many there were when it was written.
async fn written(pair: Pair<'_>, name: &str) -> (VolumeId, [Point; 2]) {
    let (on, volume) = (pair.source, made(pair.source, name).await);
    pair.put(on, &volume, ONE, "a", b"0").await;
    let one = snap(on, &volume, ONE, "one").await.point;
    pair.put(on, &volume, ONE, "a", b"1").await;
    let two = snap(on, &volume, ONE, "two").await.point;
    pair.put(on, &volume, ONE, "a", b"2").await;
    (volume, [one, two])
}

/// The volume is as it was then, with its snapshots of then, on which a replica still stands; the other is as it was until
/// now, with the later snapshots. Asked for twice, it is done once.
pub async fn a_rollback_keeps_what_it_rolls_over(pair: Pair<'_>) {
    let (on, kept) = (pair.source, volume("kept"));
    let (volume, [one, two]) = written(pair, "volume").await;
    copy(on, pair.target, &volume, None, &one, ONE).await;

    assert_eq!(on.rollback(&op(ONE), &volume, &one, &kept).await.unwrap(), Change::Made);
    assert_eq!(on.rollback(&op(ONE), &volume, &one, &kept).await.unwrap(), Change::None);

    for (volume, content, snapshot) in [(&volume, b"0", &one), (&kept, b"2", &two)] {
        let found = state(on, volume).await;
        assert_eq!((found.role, found.epoch, found.size), (Role::Live, ONE, SIZE));
        assert_eq!(pair.get(on, volume, ONE, "a").await, content);
        assert_eq!(points(on, volume).await, std::slice::from_ref(snapshot));
    }
    pair.put(on, &volume, ONE, "a", b"another way").await;
    pair.put(on, &kept, ONE, "a", b"and on").await;
    let again = snap(on, &volume, ONE, "two").await.point;
    assert_ne!(again, two);
    copy(on, pair.target, &volume, Some(&one), &again, ONE).await;
    pair.target.promote(&op(TWO), &volume, &again).await.unwrap();
    assert_eq!(pair.get(pair.target, &volume, TWO, "a").await, b"another way");
    assert_eq!(pair.get(on, &kept, ONE, "a").await, b"and on");
}

/// What cannot be done changes nothing.
pub async fn a_rollback_needs_a_live_volume_its_snapshot_and_a_free_name(pair: Pair<'_>) {
    let (on, kept) = (pair.source, volume("kept"));
    let (volume, [one, two]) = written(pair, "volume").await;
    let (other, [others, _]) = written(pair, "other").await;
    let mistaken = Point { tag: one.tag.clone(), guid: Guid("1".to_owned()) };
    let renamed = Point { tag: tag("other"), guid: one.guid.clone() };

    for wrong in [&mistaken, &renamed, &others] {
        let refused = on.rollback(&op(ONE), &volume, wrong, &kept).await;
        assert!(matches!(refused, Err(BackendError::NoSuchSnapshot { .. })), "got {refused:?}");
    }
    for taken in [&other, &volume] {
        let refused = on.rollback(&op(ONE), &volume, &one, taken).await;
        assert!(matches!(refused, Err(BackendError::WrongRole { .. })), "got {refused:?}");
    }
    let refused = on.rollback(&op(ONE), &kept, &one, &kept).await;
    assert!(matches!(refused, Err(BackendError::NoSuchVolume(_))), "got {refused:?}");
    let newer = on.rollback(&op(TWO), &volume, &one, &kept).await;
    assert!(matches!(newer, Err(BackendError::WrongRole { .. })), "got {newer:?}");
    on.seal(&op(TWO), &volume).await.unwrap();
    let sealed = on.rollback(&op(TWO), &volume, &one, &kept).await;
    assert!(matches!(sealed, Err(BackendError::WrongRole { .. })), "got {sealed:?}");
    let stale = on.rollback(&op(ONE), &volume, &one, &kept).await;
    assert!(matches!(stale, Err(BackendError::StaleEpoch { .. })), "got {stale:?}");

    assert_eq!(on.stat(&kept).await.unwrap(), None);
    assert_eq!(role(on, &volume).await, (Role::Sealed, TWO));
    assert_eq!(points(on, &volume).await, [one, two]);
    on.unseal(&op(TWO), &volume).await.unwrap();
    assert_eq!(pair.get(on, &volume, TWO, "a").await, b"2");
}

/// It can be put back to its own snapshots, cloned and removed, and so can the other; and one way back does not bar another.
pub async fn what_was_rolled_over_is_a_volume_like_any_other(pair: Pair<'_>) {
    let on = pair.source;
    let (first, second, third) = (volume("first"), volume("second"), volume("third"));
    let (volume, [one, two]) = written(pair, "volume").await;
    on.rollback(&op(ONE), &volume, &one, &first).await.unwrap();
    pair.put(on, &volume, ONE, "a", b"again").await;
    on.rollback(&op(ONE), &volume, &one, &second).await.unwrap();
    assert_eq!(pair.get(on, &volume, ONE, "a").await, b"0");
    assert_eq!(pair.get(on, &second, ONE, "a").await, b"again");

    on.rollback(&op(ONE), &first, &two, &third).await.unwrap();
    assert_eq!(pair.get(on, &first, ONE, "a").await, b"1");
    assert_eq!(points(on, &first).await, [two]);
    on.destroy_snapshots(&op(ONE), &volume, &[one]).await.unwrap();
    assert_eq!(points(on, &volume).await, []);
    on.destroy(&op(ONE), &volume).await.unwrap();
    on.destroy(&op(ONE), &first).await.unwrap();

    for (left, content) in [(&second, &b"again"[..]), (&third, b"2")] {
        assert_eq!(pair.get(on, left, ONE, "a").await, content);
        on.destroy(&op(ONE), left).await.unwrap();
        assert_eq!(on.stat(left).await.unwrap(), None);
    }
    assert_eq!(on.stat(&volume).await.unwrap(), None);
}
