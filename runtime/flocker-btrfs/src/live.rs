//! Tests on real pools in files of their own. They need root, loop devices and btrfs, and leave nothing behind.

mod crash;
mod differential;
mod pools;
mod room;
mod speed;
mod written;

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use flocker_model::{ByteSize, Epoch, OperationId, SnapshotTag, VolumeId};
use flocker_ports::{
    Backend, Op,
    contract::backend::{Pair, RealFiles},
};

use crate::{BtrfsBackend, PoolConfig};

flocker_ports::backend_contract!(World::new().await);

const ONE: Epoch = Epoch(1);
const TWO: Epoch = Epoch(2);
const SIZE: ByteSize = ByteSize::mib(64);

/// A pool in a temporary folder, unmounted and removed at the end, also of a test that fails.
#[derive(Debug)]
struct TestPool {
    backend: Option<BtrfsBackend>,
    folder: tempfile::TempDir,
}

impl TestPool {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::at(folder).await
    }

    async fn at(folder: tempfile::TempDir) -> Self {
        let mut pool = Self { backend: None, folder };
        pool.backend = Some(BtrfsBackend::open(pool.config()).await.unwrap());
        pool
    }

    fn config(&self) -> PoolConfig {
        PoolConfig::File {
            state_dir: self.folder.path().join("state"),
            path: self.image(),
            size: ByteSize::mib(512),
        }
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("pool.img")
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("state/pool")
    }

    fn backend(&self) -> &BtrfsBackend {
        self.backend.as_ref().unwrap()
    }

    /// What a program finds that comes after one that was killed: everything mounted, nobody at home.
    async fn reopen(&mut self) {
        self.backend = None;
        self.backend = Some(BtrfsBackend::open(self.config()).await.unwrap());
    }

    fn crash_after(&self, n_steps: i64) {
        let steps = &self.backend().node().steps;
        steps.crash_after.store(n_steps, std::sync::atomic::Ordering::Relaxed);
    }

    fn names_in(&self, folder: &str) -> Vec<String> {
        let names = std::fs::read_dir(self.root().join(folder)).unwrap();
        names.map(|name| name.unwrap().file_name().into_string().unwrap()).collect()
    }
}

impl Drop for TestPool {
    fn drop(&mut self) {
        self.backend = None;
        unmount(&self.root());
    }
}

/// A killed `btrfs receive` may need a moment to let go.
fn unmount(folder: &Path) {
    let deadline = Instant::now() + Duration::from_secs(10);
    let run = |args: &[&str]| Command::new("umount").args(args).arg(folder).output().unwrap();
    loop {
        let output = run(&[]);
        let gone = String::from_utf8_lossy(&output.stderr);
        if output.status.success()
            || gone.contains("not mounted")
            || gone.contains("no mount point")
        {
            return;
        }
        if Instant::now() > deadline {
            run(&["-l"]);
            return;
        }
        std::thread::yield_now();
    }
}

/// Makes a volume as soon as the kernel has cleaned up behind a subvolume that was removed.
async fn create_soon(backend: &BtrfsBackend, name: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while let Err(error) = backend.create(&op(ONE), &volume(name), &SIZE.into(), None).await {
        assert!(Instant::now() < deadline, "{error}");
        tokio::task::yield_now().await;
    }
}

/// Two nodes' pools.
#[derive(Debug)]
struct World {
    source: TestPool,
    target: TestPool,
}

impl World {
    async fn new() -> Self {
        Self { source: TestPool::new().await, target: TestPool::new().await }
    }

    fn pair(&self) -> Pair<'_> {
        Pair { source: self.source.backend(), target: self.target.backend(), content: &RealFiles }
    }
}

fn op(epoch: Epoch) -> Op {
    Op { id: OperationId::new("test").unwrap(), epoch }
}

fn tag(name: &str) -> SnapshotTag {
    SnapshotTag::new(name).unwrap()
}

fn volume(name: &str) -> VolumeId {
    VolumeId::new(name).unwrap()
}
