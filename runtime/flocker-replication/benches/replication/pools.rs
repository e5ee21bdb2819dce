//! Two btrfs pools in files, for us and for `btrfs send | btrfs receive`.

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

/// Bytes of a first stream, and of one that brings what changed.
pub(crate) const FULL: usize = 512 << 20;
pub(crate) const INCREMENT: usize = 64 << 20;

/// How large a pool's file claims to be.
const POOL: ByteSize = ByteSize::gib(6);

pub(crate) struct Pool {
    folder: tempfile::TempDir,
    backend: Option<Arc<BtrfsBackend>>,
}

pub(crate) struct Pair {
    pub(crate) source: Pool,
    pub(crate) target: Pool,
}

fn op() -> Op {
    Op { id: OperationId::new("o-1").unwrap(), epoch: Epoch(1) }
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

    pub(crate) fn backend(&self) -> Arc<dyn Backend> {
        self.backend.clone().unwrap()
    }

    fn mount(&self) -> PathBuf {
        self.folder.path().join("state/pool")
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.backend = None;
        // Whoever still reads from it is about to end.
        let deadline = Instant::now() + Duration::from_secs(10);
        while !Command::new("umount").arg(self.mount()).output().unwrap().status.success() {
            if Instant::now() > deadline {
                drop(Command::new("umount").arg("-l").arg(self.mount()).output());
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn run(line: &str) {
    let ended = Command::new("bash").args(["-o", "pipefail", "-c", line]).output().unwrap();
    assert!(ended.status.success(), "{line}: {}", String::from_utf8_lossy(&ended.stderr));
}

impl Pair {
    /// Two empty pools with a volume in the first; and beside it, for `btrfs` alone, a subvolume in the first and a folder
    /// in the second.
    pub(crate) async fn new() -> Self {
        let (source, target) = (Pool::new().await, Pool::new().await);
        source.backend().create(&op(), &volume(), &ByteSize::gib(4).into(), None).await.unwrap();
        run(&format!("btrfs subvolume create {}/bare", source.mount().display()));
        fs::create_dir(target.mount().join("bare")).unwrap();
        Self { source, target }
    }

    /// The same bytes for both. They neither repeat nor compress.
    pub(crate) fn write(&self, file: &str, length: usize) {
        let mut bytes = vec![0; length];
        blake3::Hasher::new().update(file.as_bytes()).finalize_xof().fill(&mut bytes);
        let live = self.source.mount().join("live").join(volume().as_str()).join("data");
        fs::write(live.join(file), &bytes).unwrap();
        fs::write(self.source.mount().join("bare").join(file), &bytes).unwrap();
        run("sync");
    }

    /// A snapshot of both.
    pub(crate) async fn snapshot(&self, name: &str) -> Point {
        let root = self.source.mount();
        let root = root.display();
        run(&format!("btrfs subvolume snapshot -r {root}/bare {root}/bare-{name} && sync"));
        let tag = SnapshotTag::new(name).unwrap();
        self.source.backend().snapshot(&op(), &[volume()], &tag).await.unwrap().remove(0).point
    }

    /// `btrfs send | btrfs receive`, and what it received made durable, as ours is.
    pub(crate) fn bare(&self, base: Option<&str>, to: &str) -> Duration {
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
