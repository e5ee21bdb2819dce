//! Opening, closing and growing pools, and what is wrong with some.

use std::{fs, io::Write, process::Command};

use flocker_model::{ByteSize, VolumeOptions};
use flocker_ports::{Backend, contract::backend as contract};

use super::{ONE, SIZE, TestPool, create_soon, op, tag, unmount, volume};
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
    pool.backend().create(&op(ONE), &volume("a"), &SIZE.into(), None).await.unwrap();

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
        pool.backend().create(&op(ONE), volume, &SIZE.into(), None).await.unwrap();
    }
    let at = pool.backend().attach(&op(ONE), &bad).await.unwrap();
    fs::write(at.path.join("f"), "precious").unwrap();
    fs::write(pool.root().join("meta/bad.json"), "{\"version\":1,").unwrap();

    pool.reopen().await;

    let troubles = pool.backend().troubles();
    assert!(troubles.len() == 1 && troubles[0].contains("bad.json"), "{troubles:?}");
    let error = pool.backend().stat(&bad).await.unwrap_err().to_string();
    assert!(error.contains("bad.json") && error.contains("hint:"), "{error}");
    assert!(pool.backend().create(&op(ONE), &bad, &SIZE.into(), None).await.is_err());
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
    pool.backend().create(&op(ONE), &lost, &SIZE.into(), None).await.unwrap();
    let at = pool.backend().attach(&op(ONE), &lost).await.unwrap();
    fs::write(at.path.join("f"), "precious").unwrap();
    fs::remove_file(pool.root().join("meta/lost.json")).unwrap();

    pool.reopen().await;
    let troubles = pool.backend().troubles();
    assert!(troubles.len() == 1 && troubles[0].contains("lost.json"), "{troubles:?}");
    pool.backend().create(&op(ONE), &lost, &SIZE.into(), None).await.unwrap();

    let kept = pool.names_in("kept");
    assert_eq!(
        fs::read(pool.root().join("kept").join(&kept[0]).join("data/f")).unwrap(),
        b"precious"
    );
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_folder_of_our_name_is_refused() {
    let mut host = TestPool::new().await;
    host.backend = None;
    let folder = host.root().join("disk");
    fs::create_dir_all(folder.join("flocker")).unwrap();

    let refused = BtrfsBackend::open(PoolConfig::Filesystem(folder)).await;

    assert!(matches!(refused, Err(OpenError::NotOurs { .. })), "got {refused:?}");
}

/// A crash came after the file had grown and before the btrfs in it had.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_growth_that_was_cut_short_is_finished() {
    let mut pool = TestPool::new().await;
    pool.backend().close().await.unwrap();
    pool.backend = None;
    let PoolConfig::File { state_dir, path, .. } = pool.config() else { unreachable!() };
    fs::File::options().write(true).open(&path).unwrap().set_len(1 << 30).unwrap();

    let larger = PoolConfig::File { state_dir, path, size: ByteSize::gib(1) };
    pool.backend = Some(BtrfsBackend::open(larger).await.unwrap());

    assert_eq!(pool.backend().capacity().await.unwrap().total, ByteSize::gib(1));
}

/// As the kernel leaves it after an error of the disk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_pool_says_so_and_can_still_be_read() {
    let pool = TestPool::new().await;
    let (backend, volume) = (pool.backend(), volume("a"));
    backend.create(&op(ONE), &volume, &SIZE.into(), None).await.unwrap();
    let remounted = Command::new("mount").args(["-o", "remount,ro"]).arg(pool.root()).status();
    assert!(remounted.unwrap().success());

    let only = std::slice::from_ref(&volume);
    for error in [
        backend.create(&op(ONE), &super::volume("b"), &SIZE.into(), None).await.unwrap_err(),
        backend.seal(&op(ONE), &volume).await.unwrap_err(),
        backend.snapshot(&op(ONE), only, &tag("one")).await.unwrap_err(),
        backend.destroy(&op(ONE), &volume).await.unwrap_err(),
    ] {
        let error = error.to_string();
        assert!(error.contains("hint: the pool is mounted read-only"), "{error}");
    }
    assert_eq!(backend.volumes().await.unwrap().len(), 1);
}

/// Given a pool without a free byte, volumes can be removed, and that makes room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_pool_lets_volumes_be_removed() {
    let pool = TestPool::new().await;
    let (backend, full) = (pool.backend(), volume("full"));
    backend.create(&op(ONE), &full, &ByteSize::gib(1).into(), None).await.unwrap();
    let at = backend.attach(&op(ONE), &full).await.unwrap();
    let mut file = fs::File::create(at.path.join("f")).unwrap();
    while file.write_all(&[7; 1 << 20]).and_then(|()| file.sync_data()).is_ok() {}
    while file.write_all(&[7; 1 << 10]).and_then(|()| file.sync_data()).is_ok() {}
    drop(file);

    backend.seal(&op(ONE), &full).await.unwrap();
    backend.snapshot(&op(ONE), std::slice::from_ref(&full), &tag("one")).await.unwrap();
    backend.destroy(&op(ONE), &full).await.unwrap();

    create_soon(backend, "next").await;
}

/// Given subvolumes that a container made inside its volume, which snapshots would leave out, it is not copied anywhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subvolumes_inside_a_volume_are_refused_by_name_and_removed_with_it() {
    let pool = TestPool::new().await;
    let (backend, volume) = (pool.backend(), volume("a"));
    backend.create(&op(ONE), &volume, &SIZE.into(), None).await.unwrap();
    let at = backend.attach(&op(ONE), &volume).await.unwrap();
    for inner in ["inner", "inner/innermost"] {
        let mut make = Command::new("btrfs");
        make.args(["-q", "subvolume", "create"]).arg(at.path.join(inner));
        assert!(make.status().unwrap().success());
    }

    let only = std::slice::from_ref(&volume);
    let error = backend.snapshot(&op(ONE), only, &tag("one")).await.unwrap_err().to_string();
    assert!(error.contains("live/a/data/inner`") && error.contains("hint:"), "{error}");
    assert_eq!(backend.snapshots(&volume).await.unwrap(), []);
    backend.seal(&op(ONE), &volume).await.unwrap();
    backend.destroy(&op(ONE), &volume).await.unwrap();

    assert_eq!(backend.stat(&volume).await.unwrap(), None);
    assert_eq!(pool.names_in("live"), [""; 0]);
}

/// Given how a volume is to be compressed, its folder says so to every file made in it; what btrfs cannot keep is refused by
/// name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_is_compressed_as_its_options_say_and_others_are_refused() {
    /// `FS_NOCOMP_FL` of `linux/fs.h`.
    const NOT_COMPRESSED: u32 = 0x400;
    let pool = TestPool::new().await;
    for (how, kept) in [("off", None), ("lz4", Some("lzo")), ("zstd", Some("zstd"))] {
        let id = volume(how);
        let options = VolumeOptions { compression: Some(how.parse().unwrap()), ..SIZE.into() };
        pool.backend().create(&op(ONE), &id, &options, None).await.unwrap();
        let at = pool.backend().attach(&op(ONE), &id).await.unwrap().path.join("f");
        fs::write(&at, "a").unwrap();
        let mut value = [0; 16];
        let found = rustix::fs::getxattr(&at, "btrfs.compression", &mut value);
        assert_eq!(found.ok().map(|length| str::from_utf8(&value[..length]).unwrap()), kept);
        let flags = rustix::fs::ioctl_getflags(fs::File::open(&at).unwrap()).unwrap();
        assert_eq!(flags.bits() & NOT_COMPRESSED != 0, kept.is_none(), "{how}");
    }
    let secret = VolumeOptions { secret: Some("k".parse().unwrap()), ..SIZE.into() };
    let reserved = VolumeOptions { reserved: true, ..SIZE.into() };
    for (options, word) in [(secret, "`secret`"), (reserved, "`reserve`")] {
        let made = pool.backend().create(&op(ONE), &volume("x"), &options, None).await;
        let refused = made.unwrap_err().to_string();
        assert!(refused.contains(word) && refused.contains("hint"), "{refused}");
    }
}
