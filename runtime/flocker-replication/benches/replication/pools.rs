//! Pools to stream between, for us and for the bare commands beside us; and two of btrfs, in files.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use flocker_btrfs::{BtrfsBackend, PoolConfig};
use flocker_model::{ByteSize, Epoch, OperationId, Point, SnapshotTag};
use flocker_ports::{Backend, Op};

use crate::volume;

/// Two empty pools with a volume in the first, and beside it what the bare commands send and receive.
pub(crate) trait Pair: Sized {
    /// Bytes of a first stream.
    const FULL: usize;
    /// Bytes of one that brings what changed.
    const INCREMENT: usize;

    async fn new() -> Self;

    fn source(&self) -> Arc<dyn Backend>;

    fn target(&self) -> Arc<dyn Backend>;

    /// What the bare commands send a snapshot of.
    fn bare_folder(&self) -> PathBuf;

    /// Takes that snapshot.
    fn snapshot_bare(&self, name: &str);

    /// The same bytes for both.
    async fn write(&self, file: &str, length: usize) {
        let bytes = noise(file, length);
        let live = self.source().attach(&op(), &volume()).await.unwrap().path;
        for folder in [live, self.bare_folder()] {
            fs::write(folder.join(file), &bytes).unwrap();
        }
    }

    /// A snapshot of both.
    async fn snapshot(&self, name: &str) -> Point {
        self.snapshot_bare(name);
        let tag = SnapshotTag::new(name).unwrap();
        self.source().snapshot(&op(), &[volume()], &tag).await.unwrap().remove(0).point
    }

    /// Waits until the pools have done what they put off, so that nobody pays for who came before.
    fn rest(&self);

    /// What the bare commands take for it, until what they received is as durable as ours.
    fn bare(&self, base: Option<&str>, to: &str) -> Duration;
}

/// Bytes that neither repeat nor compress.
pub(crate) fn noise(seed: &str, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(seed.as_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

pub(crate) fn op() -> Op {
    Op { id: OperationId::new("o-1").unwrap(), epoch: Epoch(1) }
}

pub(crate) fn run(line: &str) {
    let ended = Command::new("bash").args(["-o", "pipefail", "-c", line]).output().unwrap();
    assert!(ended.status.success(), "{line}: {}", String::from_utf8_lossy(&ended.stderr));
}

/// Tries until it is done, or ten seconds are over: whoever still reads from a pool is about to end.
pub(crate) fn until(done: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}

/// How large a pool's file claims to be.
const POOL: ByteSize = ByteSize::gib(6);

struct Pool {
    folder: tempfile::TempDir,
    backend: Option<Arc<BtrfsBackend>>,
}

pub(crate) struct BtrfsPair {
    source: Pool,
    target: Pool,
}

impl Pool {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = PoolConfig::File {
            state_dir: folder.path().join("state"),
            path: folder.path().join("pool.img"),
            size: POOL,
        };
        let backend = Some(Arc::new(BtrfsBackend::open(config).await.unwrap()));
        Self { folder, backend }
    }

    fn backend(&self) -> Arc<dyn Backend> {
        self.backend.clone().unwrap()
    }

    fn mount(&self) -> PathBuf {
        self.folder.path().join("state/pool")
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.backend = None;
        if !until(|| Command::new("umount").arg(self.mount()).output().unwrap().status.success()) {
            drop(Command::new("umount").arg("-l").arg(self.mount()).output());
        }
    }
}

impl Pair for BtrfsPair {
    const FULL: usize = 512 << 20;
    const INCREMENT: usize = 64 << 20;

    async fn new() -> Self {
        let (source, target) = (Pool::new().await, Pool::new().await);
        source.backend().create(&op(), &volume(), &ByteSize::gib(4).into(), None).await.unwrap();
        run(&format!("btrfs subvolume create {}/bare", source.mount().display()));
        fs::create_dir(target.mount().join("bare")).unwrap();
        Self { source, target }
    }

    fn source(&self) -> Arc<dyn Backend> {
        self.source.backend()
    }

    fn target(&self) -> Arc<dyn Backend> {
        self.target.backend()
    }

    fn bare_folder(&self) -> PathBuf {
        self.source.mount().join("bare")
    }

    fn snapshot_bare(&self, name: &str) {
        let root = self.source.mount();
        let root = root.display();
        run(&format!("btrfs subvolume snapshot -r {root}/bare {root}/bare-{name}"));
    }

    fn rest(&self) {
        for pool in [&self.source, &self.target] {
            run(&format!("btrfs filesystem sync {}", pool.mount().display()));
        }
    }

    /// `btrfs receive` flushes nothing, so that is done after it.
    fn bare(&self, base: Option<&str>, to: &str) -> Duration {
        let (from, into) = (self.source.mount(), self.target.mount());
        let (from, into) = (from.display(), into.display());
        let parent = base.map(|base| format!("-p {from}/bare-{base}")).unwrap_or_default();
        let began = Instant::now();
        run(&format!(
            "btrfs -q send {parent} {from}/bare-{to} | btrfs -q receive {into}/bare && btrfs filesystem sync {into}"
        ));
        began.elapsed()
    }
}
