//! Making, measuring, snapshotting and removing volumes on one backend.

use flocker_model::{ByteSize, Guid, Point, Role, VolumeId};

use super::{ONE, Pair, SIZE, made, noise, op, points, role, snap, state, tag, volume};
use crate::{BackendError, Change};

/// Creating twice makes one volume.
pub async fn create_makes_an_empty_live_volume_once(pair: Pair<'_>) {
    let volume = volume("create");
    let asked = op(ONE);

    assert_eq!(
        pair.source.create(&asked, &volume, &SIZE.into(), Some((1234, 1235))).await.unwrap(),
        Change::Made
    );
    pair.put(pair.source, &volume, ONE, "a", b"kept").await;
    assert_eq!(
        pair.source.create(&asked, &volume, &SIZE.into(), Some((1234, 1235))).await.unwrap(),
        Change::None
    );

    let state = state(pair.source, &volume).await;
    assert_eq!((state.role, state.epoch, state.size), (Role::Live, ONE, SIZE));
    assert_eq!(pair.get(pair.source, &volume, ONE, "a").await, b"kept");
    assert!(pair.source.volumes().await.unwrap().iter().any(|found| found.id == volume));
    assert_eq!(pair.source.snapshots(&volume).await.unwrap(), []);
}

/// What does not exist is certain not to, and nothing can be done with it.
pub async fn an_unknown_volume_is_nowhere(pair: Pair<'_>) {
    let volume = volume("nowhere");
    let point = Point { tag: tag("one"), guid: Guid("0".to_owned()) };

    assert_eq!(pair.source.stat(&volume).await.unwrap(), None);
    assert_eq!(pair.source.destroy(&op(ONE), &volume).await.unwrap(), Change::None);
    assert_eq!(pair.source.abort_receive(&op(ONE), &volume).await.unwrap(), Change::None);
    let unknown = |error: BackendError| matches!(error, BackendError::NoSuchVolume(_));
    assert!(unknown(pair.source.attach(&op(ONE), &volume).await.unwrap_err()));
    assert!(unknown(pair.source.seal(&op(ONE), &volume).await.unwrap_err()));
    assert!(unknown(pair.source.unseal(&op(ONE), &volume).await.unwrap_err()));
    assert!(unknown(pair.source.resize(&op(ONE), &volume, SIZE).await.unwrap_err()));
    assert!(unknown(pair.source.promote(&op(ONE), &volume, &point).await.unwrap_err()));
    assert!(unknown(pair.source.retire(&op(ONE), &volume, &point).await.unwrap_err()));
    assert!(unknown(pair.source.snapshots(&volume).await.unwrap_err()));
    assert_eq!(pair.source.stat(&volume).await.unwrap(), None);
}

/// Attaching twice names the same folder, and what was written there is read there.
pub async fn an_attachment_is_the_folder_it_names(pair: Pair<'_>) {
    let volume = made(pair.source, "attach").await;

    let first = pair.source.attach(&op(ONE), &volume).await.unwrap();
    pair.content.write(&first, "a", b"hello").unwrap();
    let second = pair.source.attach(&op(ONE), &volume).await.unwrap();

    assert_eq!(first, second);
    assert_eq!(pair.content.read(&second, "a").unwrap(), b"hello");
    if let Ok(metadata) = std::fs::metadata(&first.path) {
        use std::os::unix::fs::MetadataExt;
        assert_eq!((metadata.dev(), metadata.ino()), (first.device, first.inode));
    }
}

/// Resizing twice changes once.
pub async fn resize_is_remembered(pair: Pair<'_>) {
    let volume = made(pair.source, "resize").await;

    assert_eq!(
        pair.source.resize(&op(ONE), &volume, ByteSize::mib(100)).await.unwrap(),
        Change::Made
    );
    assert_eq!(
        pair.source.resize(&op(ONE), &volume, ByteSize::mib(100)).await.unwrap(),
        Change::None
    );

    assert_eq!(state(pair.source, &volume).await.size, ByteSize::mib(100));
}

/// A container that writes more than its volume may hold is told so, and goes on after a resize.
pub async fn a_writer_hits_the_limit(pair: Pair<'_>) {
    let volume = volume("limit");
    pair.source.create(&op(ONE), &volume, &ByteSize::mib(16).into(), None).await.unwrap();
    let at = pair.source.attach(&op(ONE), &volume).await.unwrap();

    pair.content.write(&at, "small", &noise(1, 4 << 20)).unwrap();
    let error = pair.content.write(&at, "large", &noise(2, 24 << 20)).unwrap_err();

    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    assert!(matches!(error.kind(), QuotaExceeded | StorageFull), "got {error}");
    pair.source.resize(&op(ONE), &volume, ByteSize::mib(96)).await.unwrap();
    pair.content.write(&at, "large", &noise(2, 24 << 20)).unwrap();
    assert_eq!(pair.content.read(&at, "small").unwrap(), noise(1, 4 << 20));
}

/// Destroying twice removes once; the volume and its snapshots are gone.
pub async fn destroy_leaves_nothing(pair: Pair<'_>) {
    let volume = made(pair.source, "destroy").await;
    snap(pair.source, &volume, ONE, "one").await;

    assert_eq!(pair.source.destroy(&op(ONE), &volume).await.unwrap(), Change::Made);
    assert_eq!(pair.source.destroy(&op(ONE), &volume).await.unwrap(), Change::None);

    assert_eq!(pair.source.stat(&volume).await.unwrap(), None);
    assert_eq!(points(pair.source, &volume).await, []);
    assert!(!pair.source.volumes().await.unwrap().iter().any(|found| found.id == volume));
}

/// One call snapshots all volumes; the same call again answers the same snapshots.
pub async fn several_volumes_are_snapshot_as_one(pair: Pair<'_>) {
    let volumes: Vec<VolumeId> = [
        made(pair.source, "group-a").await,
        made(pair.source, "group-b").await,
        made(pair.source, "group-c").await,
    ]
    .into();
    let asked = op(ONE);

    let taken = pair.source.snapshot(&asked, &volumes, &tag("one")).await.unwrap();
    let again = pair.source.snapshot(&asked, &volumes, &tag("one")).await.unwrap();

    let ids = |snapshots: &[flocker_model::Snapshot]| -> Vec<Point> {
        snapshots.iter().map(|snapshot| snapshot.point.clone()).collect()
    };
    assert_eq!(ids(&taken), ids(&again));
    assert_eq!(taken.len(), 3);
    for (volume, snapshot) in volumes.iter().zip(&taken) {
        assert_eq!(points(pair.source, volume).await, std::slice::from_ref(&snapshot.point));
    }
    let mut guids: Vec<_> = taken.iter().map(|snapshot| &snapshot.point.guid).collect();
    guids.dedup();
    assert_eq!(guids.len(), 3, "GUIDs tell snapshots of different volumes apart");
}

/// All of the volumes or none.
pub async fn a_group_with_an_unknown_volume_takes_nothing(pair: Pair<'_>) {
    let known = made(pair.source, "group-known").await;

    let refused = pair
        .source
        .snapshot(&op(ONE), &[known.clone(), volume("group-unknown")], &tag("one"))
        .await;

    assert!(matches!(refused, Err(BackendError::NoSuchVolume(_))), "got {refused:?}");
    assert_eq!(points(pair.source, &known).await, []);
}

/// Snapshots come oldest first, and what is written later is not in them.
pub async fn a_snapshot_does_not_change_any_more(pair: Pair<'_>) {
    let volume = made(pair.source, "frozen").await;
    pair.put(pair.source, &volume, ONE, "a", b"first").await;
    let first = snap(pair.source, &volume, ONE, "z-first").await.point;
    pair.put(pair.source, &volume, ONE, "a", b"second").await;
    let second = snap(pair.source, &volume, ONE, "a-second").await.point;

    assert_eq!(points(pair.source, &volume).await, [first.clone(), second]);
    super::copy(pair.source, pair.target, &volume, None, &first, ONE).await;
    pair.target.promote(&op(super::TWO), &volume, &first).await.unwrap();
    assert_eq!(pair.get(pair.target, &volume, super::TWO, "a").await, b"first");
}

/// Another snapshot by the same name stays, and removing twice is no error.
pub async fn destroying_a_snapshot_checks_its_guid(pair: Pair<'_>) {
    let volume = made(pair.source, "unsnap").await;
    let one = snap(pair.source, &volume, ONE, "one").await.point;
    let two = snap(pair.source, &volume, ONE, "two").await.point;
    let mistaken = Point { tag: two.tag.clone(), guid: one.guid.clone() };

    // Whether this is an error is the backend's choice; that nothing goes is not.
    let _ = pair.source.destroy_snapshots(&op(ONE), &volume, &[mistaken]).await;
    assert_eq!(points(pair.source, &volume).await, [one.clone(), two.clone()]);

    let only_one = [one];
    assert_eq!(
        pair.source.destroy_snapshots(&op(ONE), &volume, &only_one).await.unwrap(),
        Change::Made
    );
    assert_eq!(
        pair.source.destroy_snapshots(&op(ONE), &volume, &only_one).await.unwrap(),
        Change::None
    );

    assert_eq!(points(pair.source, &volume).await, [two]);
    assert_eq!(role(pair.source, &volume).await, (Role::Live, ONE));
}
