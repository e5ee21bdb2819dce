//! The port, wired to the parts that do the work. Decides nothing itself but who waits for whom.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use flocker_model::{
    ByteSize, Capacity, Point, Snapshot, SnapshotTag, Timestamp, VolumeId, VolumeOptions,
    VolumeState,
};
use flocker_ports::{
    Attachment, Backend, BackendError, ByteStream, Change, Description, Op, Receiver, ResumeToken,
    refuse_reserved_and_secret,
};
use tokio::sync::OwnedMutexGuard;

use crate::{
    command::Btrfs,
    layout::Layout,
    mount::MountError,
    pool::{OpenError, Pool, PoolConfig},
    receive::Slot,
};

/// The storage of one node on btrfs.
#[derive(Debug, Clone)]
pub struct BtrfsBackend {
    node: Arc<Node>,
    /// Volumes that could not be put in order when the pool was opened.
    troubles: Vec<String>,
}

/// The pool and what goes on in it; shared with receivers, which outlive the call that made them.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) pool: Pool,
    volumes: Mutex<HashMap<VolumeId, Arc<Entry>>>,
    pub(crate) steps: Steps,
}

/// What happens to one volume. Nothing is shared between volumes, so a stuck one holds up no other.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    /// Held by whoever changes the volume.
    changes: Arc<tokio::sync::Mutex<()>>,
    /// The receive under way.
    pub(crate) slot: Slot,
}

impl BtrfsBackend {
    /// Opens the pool, makes it where it is missing, and finishes or removes what a crash left half-made in it.
    ///
    /// # Errors
    /// [`OpenError`] when the machine cannot do it, the pool is in use, or is not a btrfs. A single damaged volume is no
    /// error: it is in [`Backend::troubles`], and only it refuses to work.
    pub async fn open(config: PoolConfig) -> Result<Self, OpenError> {
        let pool = Pool::open(&config).await?;
        let node = Node { pool, volumes: Mutex::default(), steps: Steps::default() };
        let troubles = match node.repair().await {
            Ok(troubles) => troubles,
            Err(error) => {
                node.pool.undo_open().await;
                return Err(OpenError::Contents(error));
            }
        };
        for trouble in troubles.iter().chain(&node.kept()) {
            tracing::error!("{trouble}");
        }
        Ok(Self { node: Arc::new(node), troubles })
    }

    /// Takes back what opening did to the machine: a pool that was mounted by it is unmounted. One that an earlier
    /// program left mounted stays so, for containers may use it.
    pub async fn undo_open(&self) {
        self.node.stop_receiving().await;
        self.node.pool.undo_open().await;
    }

    /// Unmounts a file-backed pool. Containers that still have a volume mounted keep it, and the loop device with it.
    ///
    /// # Errors
    /// [`MountError`] when something uses the pool's folder itself; nothing is lost by leaving it mounted.
    pub async fn close(&self) -> Result<(), MountError> {
        self.node.stop_receiving().await;
        self.node.pool.close().await
    }

    #[cfg(test)]
    pub(crate) fn node(&self) -> &Node {
        &self.node
    }
}

impl Node {
    pub(crate) fn layout(&self) -> &Layout {
        &self.pool.layout
    }

    pub(crate) fn btrfs(&self) -> &Btrfs {
        &self.pool.btrfs
    }

    pub(crate) fn entry(&self, volume: &VolumeId) -> Arc<Entry> {
        // A panic elsewhere cannot leave a map of independent entries half-changed.
        let mut volumes = self.volumes.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(volumes.entry(volume.clone()).or_default())
    }

    /// Waits for its turn to change the volume.
    pub(crate) async fn turn(&self, volume: &VolumeId) -> OwnedMutexGuard<()> {
        let changes = Arc::clone(&self.entry(volume).changes);
        changes.lock_owned().await
    }

    /// Waits for its turn to change all of them. Always in the same order, so that two callers never wait for each other.
    pub(crate) async fn turns(
        &self,
        volumes: impl IntoIterator<Item = &VolumeId>,
    ) -> Vec<OwnedMutexGuard<()>> {
        let ordered: BTreeSet<&VolumeId> = volumes.into_iter().collect();
        let mut turns = Vec::with_capacity(ordered.len());
        for volume in ordered {
            turns.push(self.turn(volume).await);
        }
        turns
    }

    /// Works on files of the pool away from the threads that serve everybody: a disk may take its time.
    pub(crate) async fn files<T: Send + 'static>(
        &self,
        action: &str,
        path: &Path,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, BackendError> {
        let owned = path.to_owned();
        let done = tokio::task::spawn_blocking(move || work(&owned)).await;
        done.map_err(io::Error::other)
            .flatten()
            .map_err(|error| self.btrfs().io(action, path, &error))
    }

    async fn stop_receiving(&self) {
        let entries: Vec<Arc<Entry>> = self
            .volumes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .map(Arc::clone)
            .collect();
        for entry in entries {
            entry.slot.stop().await;
        }
    }

    pub(crate) fn capacity(&self) -> Result<Capacity, BackendError> {
        let root = self.layout().root();
        let statvfs = rustix::fs::statvfs(root).map_err(|error| {
            self.btrfs().io("could not read the pool's free space", root, &error.into())
        })?;
        Ok(Capacity {
            total: ByteSize(statvfs.f_blocks * statvfs.f_frsize),
            free: ByteSize(statvfs.f_bavail * statvfs.f_frsize),
        })
    }
}

/// Points between two steps of a change, at which tests stop as a crash would.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    #[cfg(test)]
    pub(crate) crash_after: std::sync::atomic::AtomicI64,
}

impl Steps {
    /// A step was done. Outside tests this is nothing.
    #[cfg(not(test))]
    #[expect(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "in tests it has something to say"
    )]
    pub(crate) fn done(&self, _step: &str) -> Result<(), BackendError> {
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn done(&self, step: &str) -> Result<(), BackendError> {
        if self.crash_after.fetch_sub(1, std::sync::atomic::Ordering::Relaxed) == 1 {
            return Err(BackendError::Failed {
                action: "crashed".to_owned(),
                reason: step.to_owned(),
            });
        }
        Ok(())
    }
}

#[async_trait]
impl Backend for BtrfsBackend {
    fn troubles(&self) -> Vec<String> {
        let mut troubles = self.troubles.clone();
        troubles.extend(self.node.kept());
        troubles
    }

    fn describe(&self) -> Description {
        let features =
            ["snapshot", "incremental-send", "resume", "quota", "clone", "keeping-rollback"];
        Description {
            driver: "btrfs".to_owned(),
            streams: "btrfs".to_owned(),
            pool: self.node.btrfs().pool.clone(),
            features: features.map(str::to_owned).to_vec(),
        }
    }

    async fn capacity(&self) -> Result<Capacity, BackendError> {
        self.node.capacity()
    }

    async fn volumes(&self) -> Result<Vec<VolumeState>, BackendError> {
        self.node.volumes().await
    }

    async fn stat(&self, volume: &VolumeId) -> Result<Option<VolumeState>, BackendError> {
        self.node.stat(volume).await
    }

    async fn written(
        &self,
        volumes: &[VolumeId],
    ) -> Result<BTreeMap<VolumeId, Timestamp>, BackendError> {
        self.node.written(volumes).await
    }

    async fn create(
        &self,
        op: &Op,
        volume: &VolumeId,
        options: &VolumeOptions,
        owner: Option<(u32, u32)>,
    ) -> Result<Change, BackendError> {
        let _turn = self.node.turn(volume).await;
        refuse_reserved_and_secret("btrfs", options)?;
        self.node.create(op, volume, options, owner).await
    }

    async fn clone_volume(
        &self,
        op: &Op,
        source: &VolumeId,
        at: &Point,
        volume: &VolumeId,
    ) -> Result<Change, BackendError> {
        let _turns = self.node.turns([source, volume]).await;
        self.node.clone_volume(op, source, at, volume).await
    }

    async fn rollback(
        &self,
        op: &Op,
        volume: &VolumeId,
        to: &Point,
        kept: &VolumeId,
    ) -> Result<Change, BackendError> {
        let _turns = self.node.turns([volume, kept]).await;
        self.node.rollback(op, volume, to, kept).await
    }

    async fn resize(
        &self,
        op: &Op,
        volume: &VolumeId,
        size: ByteSize,
    ) -> Result<Change, BackendError> {
        let _turn = self.node.turn(volume).await;
        self.node.resize(op, volume, size).await
    }

    async fn destroy(&self, op: &Op, volume: &VolumeId) -> Result<Change, BackendError> {
        let _turn = self.node.turn(volume).await;
        self.node.destroy(op, volume).await
    }

    async fn snapshot(
        &self,
        op: &Op,
        volumes: &[VolumeId],
        tag: &SnapshotTag,
    ) -> Result<Vec<Snapshot>, BackendError> {
        let _turns = self.node.turns(volumes).await;
        self.node.snapshot(op, volumes, tag).await
    }

    async fn snapshots(&self, volume: &VolumeId) -> Result<Vec<Snapshot>, BackendError> {
        self.node.snapshots(volume).await
    }

    async fn destroy_snapshots(
        &self,
        op: &Op,
        volume: &VolumeId,
        which: &[Point],
    ) -> Result<Change, BackendError> {
        let _turn = self.node.turn(volume).await;
        self.node.destroy_snapshots(op, volume, which).await
    }

    async fn attach(&self, op: &Op, volume: &VolumeId) -> Result<Attachment, BackendError> {
        let _turn = self.node.turn(volume).await;
        self.node.attach(op, volume).await
    }

    async fn seal(&self, op: &Op, volume: &VolumeId) -> Result<Change, BackendError> {
        let _turn = self.node.turn(volume).await;
        self.node.seal(op, volume).await
    }

    async fn unseal(&self, op: &Op, volume: &VolumeId) -> Result<Change, BackendError> {
        let _turn = self.node.turn(volume).await;
        self.node.unseal(op, volume).await
    }

    async fn promote(
        &self,
        op: &Op,
        volume: &VolumeId,
        at: &Point,
    ) -> Result<Change, BackendError> {
        let _turn = self.node.turn(volume).await;
        self.node.promote(op, volume, at).await
    }

    async fn retire(&self, op: &Op, volume: &VolumeId, at: &Point) -> Result<Change, BackendError> {
        let _turn = self.node.turn(volume).await;
        self.node.retire(op, volume, at).await
    }

    async fn send(
        &self,
        volume: &VolumeId,
        base: Option<&Point>,
        to: &Point,
        resume: Option<&ResumeToken>,
    ) -> Result<ByteStream, BackendError> {
        self.node.send(volume, base, to, resume).await
    }

    async fn receive(
        &self,
        op: &Op,
        volume: &VolumeId,
        base: Option<&Point>,
        to: &Point,
        options: &VolumeOptions,
    ) -> Result<Box<dyn Receiver>, BackendError> {
        let _turn = self.node.turn(volume).await;
        refuse_reserved_and_secret("btrfs", options)?;
        Node::receive(&self.node, op, volume, base, to, options.size).await
    }

    async fn abort_receive(&self, op: &Op, volume: &VolumeId) -> Result<Change, BackendError> {
        let _turn = self.node.turn(volume).await;
        self.node.abort_receive(op, volume).await
    }
}
