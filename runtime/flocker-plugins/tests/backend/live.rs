//! `plugins/dir-backend` on real folders.

use std::{fs, os::unix::fs::MetadataExt};

use flocker_model::Role;
use flocker_plugins::BackendLimits;
use flocker_ports::{
    Backend, BackendError, Change,
    contract::backend::{Pair, RealFiles},
};
use futures::StreamExt;

use crate::world::{ONE, SIZE, TWO, World, dir_backend, op, tag, volume};

flocker_ports::backend_contract!(Nodes::new().await);

/// Two nodes.
struct Nodes {
    source: World,
    target: World,
}

impl Nodes {
    async fn new() -> Self {
        Self { source: one().await, target: one().await }
    }

    fn pair(&self) -> Pair<'_> {
        Pair { source: self.source.backend(), target: self.target.backend(), content: &RealFiles }
    }
}

async fn one() -> World {
    World::new(&dir_backend(), BackendLimits::default()).await
}

/// The contract of plugins has no such functions; an operator is told what else there is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clones_and_ways_back_are_refused_with_another_way() {
    let world = one().await;
    let (backend, v) = (world.backend(), volume("v"));
    backend.create(&op(ONE), &v, &SIZE.into(), None).await.unwrap();
    let taken = backend.snapshot(&op(ONE), std::slice::from_ref(&v), &tag("one")).await.unwrap();

    let clone = backend.clone_volume(&op(ONE), &v, &taken[0].point, &volume("w")).await;
    let back = backend.rollback(&op(ONE), &v, &taken[0].point, &volume("w")).await;

    for (refused, what) in [(clone, "cannot clone"), (back, "back to a snapshot")] {
        let said = refused.unwrap_err().to_string();
        assert!(said.contains(what) && said.contains("hint: "), "{said}");
    }
    assert!(backend.stat(&volume("w")).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_finds_volumes_mounts_and_seals_again() {
    let mut world = one().await;
    for name in ["live", "sealed"] {
        world
            .backend()
            .create(&op(ONE), &volume(name), &SIZE.into(), Some((1234, 1235)))
            .await
            .unwrap();
        let at = world.backend().attach(&op(ONE), &volume(name)).await.unwrap();
        fs::write(at.path.join("f"), name).unwrap();
        assert_eq!((at.device, at.inode), (fs::metadata(&at.path).unwrap().dev(), at.inode));
        assert_eq!(fs::metadata(&at.path).unwrap().uid(), 1234);
    }
    let before = world.backend().attach(&op(ONE), &volume("live")).await.unwrap();
    world.backend().seal(&op(ONE), &volume("sealed")).await.unwrap();

    world.reopen(&dir_backend()).await;

    let backend = world.backend();
    assert_eq!(backend.attach(&op(ONE), &volume("live")).await.unwrap(), before);
    assert_eq!(backend.stat(&volume("sealed")).await.unwrap().unwrap().role, Role::Sealed);
    let refused = fs::write(world.folder.path().join("state/volumes/sealed/f"), "late");
    assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::ReadOnlyFilesystem);
}

/// Given a file that somebody still writes to, the seal is refused and the volume stays as it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_is_still_there_stops_the_seal() {
    let world = one().await;
    let volume = volume("busy");
    world.backend().create(&op(ONE), &volume, &SIZE.into(), None).await.unwrap();
    let at = world.backend().attach(&op(ONE), &volume).await.unwrap();
    let writer = fs::File::create(at.path.join("f")).unwrap();

    let refused = world.backend().seal(&op(ONE), &volume).await;
    assert!(matches!(refused, Err(BackendError::Busy { .. })), "got {refused:?}");
    assert_eq!(world.backend().stat(&volume).await.unwrap().unwrap().role, Role::Live);

    drop(writer);
    world.backend().seal(&op(ONE), &volume).await.unwrap();
}

/// Half of a folder that is being removed reads like a whole one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_is_being_sent_is_not_removed() {
    let world = one().await;
    let (backend, volume) = (world.backend(), volume("sent"));
    backend.create(&op(ONE), &volume, &SIZE.into(), None).await.unwrap();
    let at = backend.attach(&op(ONE), &volume).await.unwrap();
    fs::write(at.path.join("f"), vec![7; 32 << 20]).unwrap();
    let taken =
        backend.snapshot(&op(ONE), std::slice::from_ref(&volume), &tag("one")).await.unwrap();
    let point = [taken[0].point.clone()];
    let mut stream = backend.send(&volume, None, &point[0], None).await.unwrap();
    drop(stream.next().await.unwrap().unwrap());

    let refused = backend.destroy_snapshots(&op(ONE), &volume, &point).await;
    assert!(matches!(refused, Err(BackendError::Busy { .. })), "got {refused:?}");
    let refused = backend.destroy(&op(ONE), &volume).await;
    assert!(matches!(refused, Err(BackendError::Busy { .. })), "got {refused:?}");

    while let Some(chunk) = stream.next().await {
        chunk.unwrap();
    }
    backend.destroy_snapshots(&op(ONE), &volume, &point).await.unwrap();
}

/// One volume's file is rubbish: it is named, its data stays, and the others go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_volume_stops_only_itself() {
    let world = one().await;
    let (backend, good, bad) = (world.backend(), volume("good"), volume("bad"));
    for volume in [&good, &bad] {
        backend.create(&op(ONE), volume, &SIZE.into(), None).await.unwrap();
    }
    let folder = world.pool().join("volumes/bad");
    fs::write(folder.join("live-1/f"), "precious").unwrap();
    fs::write(folder.join("about.json"), "{\"version\":1,").unwrap();

    let error = backend.stat(&bad).await.unwrap_err().to_string();
    assert!(error.contains("plugin `dir`") && error.contains("about.json"), "{error}");
    assert!(backend.create(&op(ONE), &bad, &SIZE.into(), None).await.is_err());
    assert!(backend.destroy(&op(TWO), &bad).await.is_err());
    let listed = backend.volumes().await.unwrap();
    assert_eq!(listed.into_iter().map(|state| state.id).collect::<Vec<_>>(), [good]);

    // Nor is a lost file taken for leave to use the folder again.
    fs::remove_file(folder.join("about.json")).unwrap();
    let error = backend.create(&op(ONE), &bad, &SIZE.into(), None).await.unwrap_err().to_string();
    assert!(error.contains("holds files"), "{error}");
    assert_eq!(fs::read(folder.join("live-1/f")).unwrap(), b"precious");
}

/// Given a crash in the middle of a removal, asking for it again finishes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_that_was_cut_short_is_finished() {
    let world = one().await;
    let backend = world.backend();
    for name in ["destroyed", "aborted"] {
        let volume = volume(name);
        backend.create(&op(ONE), &volume, &SIZE.into(), None).await.unwrap();
        let folder = world.pool().join("volumes").join(name);
        fs::write(folder.join("live-1/f"), "large").unwrap();
        let about = fs::read_to_string(folder.join("about.json")).unwrap();
        fs::write(folder.join("about.json"), about.replace("\"live\",", "\"gone\",")).unwrap();
        let kept = world.folder.path().join("state/incoming").join(name);
        fs::create_dir(&kept).unwrap();
        assert_eq!(backend.stat(&volume).await.unwrap(), None);

        let changed = match name {
            "destroyed" => backend.destroy(&op(ONE), &volume).await,
            _ => backend.abort_receive(&op(ONE), &volume).await,
        };

        assert_eq!(changed.unwrap(), Change::None);
        assert!(!folder.exists() && !kept.exists());
    }
}

/// A snapshot from before the seal may lack what was written last, so nothing is made of it in the volume's place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sealed_copy_is_not_replaced_by_an_older_snapshot() {
    let world = one().await;
    let (backend, volume) = (world.backend(), volume("sealed"));
    let only = std::slice::from_ref(&volume);
    backend.create(&op(ONE), &volume, &SIZE.into(), None).await.unwrap();
    let early = backend.snapshot(&op(ONE), only, &tag("early")).await.unwrap().remove(0).point;
    let at = backend.attach(&op(ONE), &volume).await.unwrap();
    fs::write(at.path.join("f"), "precious").unwrap();
    backend.seal(&op(ONE), &volume).await.unwrap();

    let refused = backend.promote(&op(TWO), &volume, &early).await;
    assert!(matches!(refused, Err(BackendError::Diverged { .. })), "got {refused:?}");

    let whole = backend.snapshot(&op(ONE), only, &tag("whole")).await.unwrap().remove(0).point;
    backend.promote(&op(TWO), &volume, &whole).await.unwrap();
    let at = backend.attach(&op(TWO), &volume).await.unwrap();
    assert_eq!(fs::read(at.path.join("f")).unwrap(), b"precious");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_that_is_named_twice_has_one_snapshot() {
    let world = one().await;
    let (backend, a, b) = (world.backend(), volume("a"), volume("b"));
    for volume in [&a, &b] {
        backend.create(&op(ONE), volume, &SIZE.into(), None).await.unwrap();
    }

    let group = [b.clone(), a.clone(), b.clone()];
    let taken = backend.snapshot(&op(ONE), &group, &tag("one")).await.unwrap();

    assert_eq!(taken[0], taken[2]);
    assert_eq!(backend.snapshots(&b).await.unwrap(), taken[2..]);
    assert_eq!(backend.snapshots(&a).await.unwrap(), taken[1..2]);
}

/// What a crash leaves between the folders and the word that names them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_made_folders_are_swept_away() {
    let world = one().await;
    let (backend, volume) = (world.backend(), volume("half"));
    fs::create_dir_all(world.pool().join("volumes/half/live-1")).unwrap();
    backend.create(&op(ONE), &volume, &SIZE.into(), None).await.unwrap();
    let folder = world.pool().join("volumes/half");
    for name in ["snapshot-9", "snapshot-9.new", "live-9"] {
        fs::create_dir(folder.join(name)).unwrap();
        fs::write(folder.join(name).join("f"), "half").unwrap();
    }

    backend.snapshot(&op(ONE), std::slice::from_ref(&volume), &tag("one")).await.unwrap();

    assert_eq!(backend.snapshots(&volume).await.unwrap().len(), 1);
    let left = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut left: Vec<_> = left.map(|name| name.into_string().unwrap()).collect();
    left.sort();
    assert_eq!(left, ["about.json", "live-1", "snapshot-2"]);
}
