//! What is done again and again for many volumes: one snapshot of all of them, what was written since, and bookmarks.

use flocker_model::{ByteSize, Epoch, Point, VolumeId};
use flocker_ports::{Backend, BackendError, Change, VolumeEpoch};

use super::{
    ONE, SIZE, TWO, World, copy, op, points,
    pool::{run, zfs},
    snap, stream, tag, volume, write,
};

/// Given forty volumes, one call takes a snapshot and a bookmark of each, all in one transaction group; asked again, it
/// answers the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_many_volumes_is_one_transaction() {
    let world = World::new().await;
    let here = world.source.backend();
    let volumes: Vec<VolumeId> = (0..40).map(|n| volume(&format!("v{n}"))).collect();
    for volume in &volumes {
        here.create(&op(ONE), volume, &SIZE.into(), None).await.unwrap();
    }

    let taken = here.snapshot(&op(ONE), &volumes, &tag("t")).await.unwrap();
    let again = here.snapshot(&op(ONE), &volumes, &tag("t")).await.unwrap();

    assert_eq!(taken, again);
    let parent = format!("{}/flocker", world.source.name);
    for kind in ["snapshot", "bookmark"] {
        let listed = zfs(&["list", "-Hpr", "-t", kind, "-o", "createtxg", &parent]);
        let mut groups: Vec<&str> = listed.lines().collect();
        assert_eq!(groups.len(), volumes.len(), "{kind}");
        groups.dedup();
        assert_eq!(groups.len(), 1, "{kind}s are of the transaction groups {groups:?}");
    }
    for (volume, taken) in volumes.iter().zip(&taken) {
        assert_eq!(points(here, volume).await, std::slice::from_ref(&taken.point));
    }
    // One that may not be taken is none of any.
    here.seal(&op(TWO), &volumes[7]).await.unwrap();
    let refused = here.snapshot(&op(ONE), &volumes, &tag("u")).await.unwrap_err();
    assert!(matches!(refused, BackendError::StaleEpoch { current: TWO, .. }), "{refused}");
    assert_eq!(points(here, &volumes[0]).await.len(), 1);
}

/// Given forty volumes of different epochs, snapshots of all are taken and removed by two calls in three transaction groups:
/// the last is for bookmarks. Where one cannot be removed none is, and on its own it says why.
#[tokio::test(flavor = "multi_thread")]
async fn snapshots_of_many_volumes_go_together() {
    let world = World::new().await;
    let (here, id) = (world.source.backend(), op(ONE).id);
    let volumes: Vec<VolumeEpoch> = (0..40)
        .map(|n| VolumeEpoch { id: volume(&format!("v{n}")), epoch: Epoch(1 + n % 3) })
        .collect();
    for VolumeEpoch { id, epoch } in &volumes {
        here.create(&op(*epoch), id, &SIZE.into(), None).await.unwrap();
    }
    let one = here.snapshot_together(&id, &volumes, &tag("one")).await.unwrap();
    here.snapshot_together(&id, &volumes, &tag("two")).await.unwrap();
    let points = one.into_iter().map(|snapshot| vec![snapshot.point]);
    let which: Vec<_> = volumes.iter().cloned().zip(points).collect();
    let held = format!("{}@flocker-one", world.source.dataset("v7"));
    zfs(&["hold", "mine", &held]);

    let refused = here.destroy_snapshots_together(&id, &which).await;

    assert_eq!(refused, None);
    let parent = format!("{}/flocker", world.source.name);
    let left =
        |kind: &str| zfs(&["list", "-Hr", "-t", kind, "-o", "name", &parent]).lines().count();
    assert_eq!((left("snapshot"), left("bookmark")), (80, 80));
    let (VolumeEpoch { id: v7, epoch }, seventh) = &which[7];
    let busy = here.destroy_snapshots(&op(*epoch), v7, seventh).await.unwrap_err();
    assert!(matches!(&busy, BackendError::Busy { volume, .. } if volume == v7), "{busy}");

    zfs(&["release", "mine", &held]);
    let before = transactions(&world.source.name);
    let done = here.destroy_snapshots_together(&id, &which).await.unwrap();
    let groups = transactions(&world.source.name) - before;

    assert_eq!(done, vec![Change::Made; 40]);
    // One or two more may have come of their own accord meanwhile.
    assert!(groups <= 5, "{groups} transaction groups");
    assert_eq!((left("snapshot"), left("bookmark")), (40, 40));
    let again = here.destroy_snapshots_together(&id, &which).await.unwrap();
    assert_eq!(again, vec![Change::None; 40]);
    // Somebody else was given one of them.
    here.seal(&op(Epoch(9)), v7).await.unwrap();
    assert_eq!(here.snapshot_together(&id, &volumes, &tag("three")).await, None);
    assert_eq!(left("snapshot"), 40);
}

/// The newest transaction group of a pool, as the kernel lists them.
fn transactions(pool: &str) -> u64 {
    let listed = std::fs::read_to_string(format!("/proc/spl/kstat/zfs/{pool}/txgs")).unwrap();
    let newest = listed.lines().last().and_then(|line| line.split_whitespace().next());
    newest.and_then(|number| number.parse().ok()).unwrap()
}

/// Given a volume that is written to between snapshots, how much is known for each of them.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_since_a_snapshot_is_known() {
    let world = World::new().await;
    let (here, v, w) = (world.source.backend(), volume("v"), volume("w"));
    for volume in [&v, &w] {
        here.create(&op(ONE), volume, &SIZE.into(), None).await.unwrap();
    }
    snap(here, &v, ONE, "one").await;
    snap(here, &w, ONE, "one").await;
    write(here, &v, ONE, "a", &super::noise(1 << 20)).await;
    run(std::process::Command::new("zpool").args(["sync", &world.source.name]));
    snap(here, &v, ONE, "two").await;
    let asked = [(&v, "one"), (&v, "two"), (&w, "one"), (&w, "none")]
        .map(|(volume, name)| (volume.clone(), tag(name)));

    let written = here.written_since(&asked).await.unwrap();

    assert!(written[0].is_some_and(|size| size >= ByteSize::mib(1)), "{written:?}");
    assert_eq!(written[1..], [Some(ByteSize(0)), Some(ByteSize(0)), None]);
}

/// Given a snapshot that somebody removed by hand, the next increment is sent from its bookmark, and when it is of no use
/// any more the bookmark goes.
#[tokio::test(flavor = "multi_thread")]
async fn a_base_that_was_removed_by_hand_is_still_a_base() {
    let world = World::new().await;
    let (here, there, v) = (world.source.backend(), world.target.backend(), volume("v"));
    here.create(&op(ONE), &v, &SIZE.into(), None).await.unwrap();
    write(here, &v, ONE, "a", &super::noise(4 << 20)).await;
    let one = snap(here, &v, ONE, "one").await;
    copy(&world, &v, None, &one, ONE).await.unwrap();
    let whole = stream(here, &v, None, &one, None).await.len();
    assert_eq!(here.bookmarks(&v).await.unwrap(), [], "it is not gone yet");
    zfs(&["destroy", &format!("{}@flocker-one", world.source.dataset("v"))]);
    write(here, &v, ONE, "b", b"a little more").await;
    let two = snap(here, &v, ONE, "two").await;

    let left: Vec<Point> = here.bookmarks(&v).await.unwrap();
    let increment = stream(here, &v, Some(&one), &two, None).await.len();
    copy(&world, &v, Some(&one), &two, ONE).await.unwrap();

    assert_eq!(left, std::slice::from_ref(&one));
    assert!(increment * 10 < whole, "{increment} of {whole} bytes");
    assert_eq!(points(there, &v).await, [one.clone(), two.clone()]);
    let gone = |which: Point| async move {
        here.destroy_snapshots(&op(ONE), &volume("v"), &[which]).await
    };
    assert_eq!(gone(one.clone()).await.unwrap(), Change::Made);
    assert_eq!(gone(one.clone()).await.unwrap(), Change::None);
    let lost = here.send(&v, Some(&one), &two, None).await.err().unwrap();
    assert!(matches!(lost, BackendError::NoSuchSnapshot { .. }), "{lost}");
    // With a snapshot goes its bookmark.
    snap(here, &v, ONE, "three").await;
    gone(two).await.unwrap();
    let marks = zfs(&["list", "-Hr", "-t", "bookmark", "-o", "name", &world.source.dataset("v")]);
    assert_eq!(marks.trim(), format!("{}#flocker-three", world.source.dataset("v")));
}
