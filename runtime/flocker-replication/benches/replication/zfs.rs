//! Two ZFS pools on the disks of a guest, for us and for `zfs send | zfs receive`.

use std::{
    path::PathBuf,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use flocker_model::ByteSize;
use flocker_ports::Backend;
use flocker_zfs::{ZfsBackend, ZfsConfig};

use crate::{
    pools::{Pair, op, run, until},
    volume,
};

struct Pool {
    name: &'static str,
    backend: Option<Arc<ZfsBackend>>,
}

pub(crate) struct ZfsPair {
    source: Pool,
    target: Pool,
    folder: tempfile::TempDir,
}

impl Pool {
    async fn new(name: &'static str, disk: &str, mounts: PathBuf) -> Self {
        run(&format!("zpool create -f -o cachefile=none -m none {name} {disk}"));
        let helper = std::env::var_os("FLOCKER_ZFS_HELPER").unwrap().into();
        let (parent, secrets) = (format!("{name}/flocker"), mounts.with_extension("secrets"));
        let config = ZfsConfig { parent, mounts, helper, secrets, zfs: None };
        Self { name, backend: Some(Arc::new(ZfsBackend::open(config).await.unwrap())) }
    }

    fn backend(&self) -> Arc<dyn Backend> {
        self.backend.clone().unwrap()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.backend = None;
        let destroy = || Command::new("zpool").args(["destroy", "-f", self.name]).output().unwrap();
        until(|| destroy().status.success());
    }
}

impl ZfsPair {
    /// The pools of the source and of the target.
    pub(crate) fn names(&self) -> (&'static str, &'static str) {
        (self.source.name, self.target.name)
    }
}

impl Pair for ZfsPair {
    const FULL: usize = 256 << 20;
    const INCREMENT: usize = 64 << 20;

    async fn new() -> Self {
        let disks = std::env::var("ZFS_GUEST_DISKS").unwrap();
        let (one, two) = disks.split_once(' ').unwrap();
        let folder = tempfile::tempdir().unwrap();
        let source = Pool::new("benchsource", one, folder.path().join("source")).await;
        let target = Pool::new("benchtarget", two, folder.path().join("target")).await;
        source.backend().create(&op(), &volume(), &ByteSize::gib(1).into(), None).await.unwrap();
        let bare = folder.path().join("bare");
        run(&format!("zfs create -o mountpoint={} {}/bare", bare.display(), source.name));
        Self { source, target, folder }
    }

    fn source(&self) -> Arc<dyn Backend> {
        self.source.backend()
    }

    fn target(&self) -> Arc<dyn Backend> {
        self.target.backend()
    }

    fn bare_folder(&self) -> PathBuf {
        self.folder.path().join("bare")
    }

    fn snapshot_bare(&self, name: &str) {
        run(&format!("zfs snapshot {}/bare@{name}", self.source.name));
    }

    fn rest(&self) {
        run(&format!("zpool sync {} {}", self.source.name, self.target.name));
    }

    /// With the same blocks in the stream as ours has. ZFS answers when what it received is durable.
    fn bare(&self, base: Option<&str>, to: &str) -> Duration {
        let (from, into) = (self.source.name, self.target.name);
        let base = base.map(|base| format!("-i @{base}")).unwrap_or_default();
        let began = Instant::now();
        run(&format!("zfs send -L -e -c {base} {from}/bare@{to} | zfs receive -u {into}/bare"));
        began.elapsed()
    }
}
