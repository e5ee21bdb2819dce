//! Opening, closing and growing pools, and what is wrong with some.

use std::fs;

use flocker_model::ByteSize;
use flocker_ports::{Backend, BackendError, contract::backend as contract};
use futures::StreamExt;

use super::{ONE, SIZE, TestPool, World, op, tag, unmount, volume};
use crate::{BtrfsBackend, OpenError, PoolConfig};

/// Whether a loop device shows this file.
fn is_attached(image: &std::path::Path) -> bool {
    fs::read_dir("/sys/block").unwrap().any(|device| {
        let name = fs::read_to_string(device.unwrap().path().join("loop/backing_file"));
        name.is_ok_and(|name| name.trim_end() == image.to_str().unwrap())
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_detaches_the_file_and_opening_finds_the_volumes_again() {
    let mut pool = TestPool::new().await;
    pool.backend().create(&op(ONE), &volume("a"), SIZE, None).await.unwrap();

    for _ in 0..2 {
        pool.backend().close().await.unwrap();
    }
    pool.backend = None;
    assert!(!is_attached(&pool.image()));

    for _ in 0..2 {
        pool.reopen().await;
        assert!(pool.backend().attach(&op(ONE), &volume("a")).await.is_ok());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_has_one_user() {
    let pool = TestPool::new().await;

    let refused = BtrfsBackend::open(pool.config()).await;

    assert!(matches!(refused, Err(OpenError::InUse { .. })), "got {refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_larger_size_makes_the_pool_grow() {
    let mut pool = TestPool::new().await;
    let before = pool.backend().capacity().await.unwrap().total;
    let PoolConfig::File { state_dir, path, .. } = pool.config() else { unreachable!() };

    pool.backend = None;
    let larger = PoolConfig::File { state_dir, path, size: ByteSize::gib(1) };
    pool.backend = Some(BtrfsBackend::open(larger).await.unwrap());

    let after = pool.backend().capacity().await.unwrap();
    assert_eq!((before, after.total), (ByteSize::mib(512), ByteSize::gib(1)));
    assert!(after.free > ByteSize::mib(512), "{}", after.free);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_no_pool_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (state_dir, path) = (folder.path().join("state"), folder.path().join("letter.txt"));
    fs::write(&path, vec![b'x'; 1 << 20]).unwrap();

    let config = PoolConfig::File { state_dir, path: path.clone(), size: ByteSize::mib(1) };
    let error = BtrfsBackend::open(config).await.unwrap_err().to_string();

    assert!(error.contains("letter.txt") && error.contains("hint:"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), vec![b'x'; 1 << 20]);
    assert!(!is_attached(&path));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tiny_pool_and_a_folder_elsewhere_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (state_dir, path) = (folder.path().join("state"), folder.path().join("pool.img"));

    let tiny = PoolConfig::File { state_dir, path: path.clone(), size: ByteSize::mib(16) };
    let refused = BtrfsBackend::open(tiny).await;
    assert!(matches!(refused, Err(OpenError::TooSmall { .. })), "got {refused:?}");
    assert!(!path.exists());
    let refused = BtrfsBackend::open(PoolConfig::Filesystem("/proc".into())).await;
    assert!(matches!(refused, Err(OpenError::NotBtrfs { .. })), "got {refused:?}");
}

/// One volume's sidecar is rubbish: it is named, its data stays, and the others go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_sidecar_stops_only_its_volume() {
    let mut pool = TestPool::new().await;
    let (good, bad) = (volume("good"), volume("bad"));
    for volume in [&good, &bad] {
        pool.backend().create(&op(ONE), volume, SIZE, None).await.unwrap();
    }
    let at = pool.backend().attach(&op(ONE), &bad).await.unwrap();
    fs::write(at.path.join("f"), "precious").unwrap();
    fs::write(pool.root().join("meta/bad.json"), "{\"version\":1,").unwrap();

    pool.reopen().await;

    let troubles = pool.backend().troubles();
    assert!(troubles.len() == 1 && troubles[0].contains("bad.json"), "{troubles:?}");
    let error = pool.backend().stat(&bad).await.unwrap_err().to_string();
    assert!(error.contains("bad.json") && error.contains("hint:"), "{error}");
    assert!(pool.backend().create(&op(ONE), &bad, SIZE, None).await.is_err());
    assert!(pool.backend().destroy(&op(ONE), &bad).await.is_err());
    assert_eq!(fs::read(at.path.join("f")).unwrap(), b"precious");
    assert!(pool.backend().attach(&op(ONE), &good).await.is_ok());
    let ids: Vec<_> =
        pool.backend().volumes().await.unwrap().into_iter().map(|volume| volume.id).collect();
    assert_eq!(ids, [good]);
}

/// A volume's data without a sidecar belonged to somebody: it is reported, and not reused for a new volume.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_sidecar_loses_no_data() {
    let mut pool = TestPool::new().await;
    let lost = volume("lost");
    pool.backend().create(&op(ONE), &lost, SIZE, None).await.unwrap();
    let at = pool.backend().attach(&op(ONE), &lost).await.unwrap();
    fs::write(at.path.join("f"), "precious").unwrap();
    fs::remove_file(pool.root().join("meta/lost.json")).unwrap();

    pool.reopen().await;
    let troubles = pool.backend().troubles();
    assert!(troubles.len() == 1 && troubles[0].contains("lost.json"), "{troubles:?}");
    pool.backend().create(&op(ONE), &lost, SIZE, None).await.unwrap();

    let kept = pool.names_in("kept");
    assert_eq!(
        fs::read(pool.root().join("kept").join(&kept[0]).join("data/f")).unwrap(),
        b"precious"
    );
}

/// Given a stream that is larger than the target's pool, the error says so, and what came of it is gone again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_fills_the_pool_is_refused_and_removed() {
    let world = World::new().await;
    let (source, target, volume) =
        (world.source.backend(), world.target.backend(), volume("large"));
    source.create(&op(ONE), &volume, ByteSize::mib(400), None).await.unwrap();
    let at = source.attach(&op(ONE), &volume).await.unwrap();
    fs::write(at.path.join("f"), vec![7; 320 << 20]).unwrap();
    let to = source
        .snapshot(&op(ONE), std::slice::from_ref(&volume), &tag("one"))
        .await
        .unwrap()
        .remove(0)
        .point;

    let mut receiver =
        target.receive(&op(ONE), &volume, None, &to, ByteSize::mib(400)).await.unwrap();
    let mut chunks = source.send(&volume, None, &to, None).await.unwrap();
    let mut refused = Ok(());
    while let (Ok(()), Some(chunk)) = (&refused, chunks.next().await) {
        refused = receiver.write(chunk.unwrap()).await;
    }
    if refused.is_ok() {
        refused = receiver.finish().await.map(drop);
    }

    assert!(matches!(refused, Err(BackendError::PoolFull { .. })), "got {refused:?}");
    assert_eq!(world.target.names_in("incoming"), [""; 0]);
    assert_eq!(target.snapshots(&volume).await.unwrap(), []);
    let fresh = super::volume("small");
    target.create(&op(ONE), &fresh, SIZE, None).await.unwrap();
}

/// A folder of an operator's filesystem, below its top and with a blank in its name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_on_an_existing_btrfs_is_a_pool_too() {
    let mut host = TestPool::new().await;
    host.backend = None;
    let folders = ["disk one", "disk two"].map(|name| host.root().join(name));
    let mut backends = Vec::new();
    for folder in &folders {
        fs::create_dir(folder).unwrap();
        backends.push(BtrfsBackend::open(PoolConfig::Filesystem(folder.clone())).await.unwrap());
    }
    let pair = contract::Pair {
        source: &backends[0],
        target: &backends[1],
        content: &contract::RealFiles,
    };

    contract::destroy_leaves_nothing(pair).await;
    contract::several_volumes_are_snapshot_as_one(pair).await;
    contract::a_volume_goes_there_and_back_with_its_content(pair).await;
    contract::a_receive_goes_on_where_it_was_dropped(pair).await;

    backends[0].close().await.unwrap();
    assert!(folders[0].join("flocker").exists(), "an operator's filesystem stays mounted");
    drop(backends);
    unmount(&host.root());
}
