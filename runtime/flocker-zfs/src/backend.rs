//! The port, wired to the parts that do the work. Decides nothing itself but who waits for whom.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use flocker_model::{
    ByteSize, Capacity, OperationId, Point, Snapshot, SnapshotTag, VolumeId, VolumeOptions,
    VolumeState,
};
use flocker_ports::{
    Attachment, Backend, BackendError, ByteStream, Change, Description, Op, Receiver, ResumeToken,
    VolumeEpoch,
};
use flocker_system::command::find;
use flocker_zfs_wire::{Call, Map, Value};
use tokio::sync::OwnedMutexGuard;

use crate::{
    errors::{About, io_failure, why_no_zfs},
    helper::{CallError, Helper},
    receive::Slot,
    rollback::Rolling,
};

/// The longest name of a parent: a volume's, a snapshot's and what ZFS adds fit behind it.
const PARENT_MAX: usize = 70;

/// Where volumes are kept, and what drives them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZfsConfig {
    /// The dataset that is the parent of all volumes, such as `tank/flocker`; made where it is missing.
    pub parent: String,
    /// The folder below which live volumes are mounted.
    pub mounts: PathBuf,
    /// The helper program.
    pub helper: PathBuf,
    /// The folder of the keys that volumes are encrypted with, one file each, by its secret's name.
    pub secrets: PathBuf,
    /// The `zfs` command, where it is not in one of the usual places.
    pub zfs: Option<PathBuf>,
}

/// Why a pool could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The parent's name is none.
    #[error(
        "`{0}` is no name of a dataset for volumes\nhint: write it as POOL/NAME, at most {PARENT_MAX} bytes"
    )]
    BadName(String),
    /// The command is not installed.
    #[error(
        "the program `zfs` was not found\nhint: install it, on Debian with `apt-get install zfsutils-linux`"
    )]
    NoCommand,
    /// The helper is not there.
    #[error(
        "`{0}`, which calls ZFS, was not found\nhint: it is built apart, where the headers of ZFS are; put it beside \
             `flocker-runtime`"
    )]
    NoHelper(PathBuf),
    /// The helper does not run, or the kernel has no ZFS.
    #[error("ZFS does not answer: {0}")]
    NoZfs(String),
    /// There is no pool in the file, and none can be made.
    #[error("could not use a pool in the file `{}`: {reason}", path.display())]
    File { path: PathBuf, reason: String },
    /// There is no such pool.
    #[error("there is no pool `{0}`\nhint: `zpool import` lists pools that could be imported")]
    NoPool(String),
    /// The parent cannot be made.
    #[error("could not make the dataset `{parent}`: {reason}")]
    NoParent { parent: String, reason: String },
    /// Its volumes could not be listed.
    #[error(transparent)]
    Contents(BackendError),
}

/// The storage of one node on ZFS.
#[derive(Debug, Clone)]
pub struct ZfsBackend {
    node: Arc<Node>,
    /// Volumes that could not be put in order when the pool was opened.
    troubles: Vec<String>,
}

/// The pool and what goes on in it; shared with receivers, which outlive the call that made them.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) parent: String,
    pub(crate) mounts: PathBuf,
    pub(crate) secrets: PathBuf,
    pub(crate) zfs: PathBuf,
    pub(crate) helper: Helper,
    volumes: Mutex<HashMap<VolumeId, Arc<Entry>>>,
    /// Volumes that are removed, but for what is other people's.
    pub(crate) kept: Mutex<BTreeMap<VolumeId, String>>,
    /// Volumes on their way back to a snapshot.
    pub(crate) rolling: Mutex<BTreeMap<VolumeId, Rolling>>,
}

/// What happens to one volume. Nothing is shared between volumes, so a stuck one holds up no other.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    /// Held by whoever changes the volume.
    changes: Arc<tokio::sync::Mutex<()>>,
    /// The receive under way.
    pub(crate) slot: Slot,
}

impl ZfsBackend {
    /// Opens the pool, makes the parent where it is missing, and finishes or removes what a crash left half-made in it.
    ///
    /// # Errors
    /// [`OpenError`] when something is missing. A single damaged volume is no error: it is in [`Backend::troubles`], and
    /// only it refuses to work.
    pub async fn open(config: ZfsConfig) -> Result<Self, OpenError> {
        let ZfsConfig { parent, mounts, helper, secrets, zfs } = config;
        check_name(&parent)?;
        let zfs = zfs.or_else(|| find("zfs")).ok_or(OpenError::NoCommand)?;
        if !helper.is_file() {
            return Err(OpenError::NoHelper(helper));
        }
        let pool = parent.split('/').next().unwrap_or(&parent).to_owned();
        let helper = Helper::new(helper, pool);
        helper.start().await.map_err(|error| OpenError::NoZfs(why_no_zfs(&error)))?;
        let (volumes, kept, rolling) = (Mutex::default(), Mutex::default(), Mutex::default());
        let node = Node { parent, mounts, secrets, zfs, helper, volumes, kept, rolling };
        node.make_parent().await?;
        let troubles = node.repair().await.map_err(OpenError::Contents)?;
        for trouble in troubles.iter().chain(&node.kept()) {
            tracing::error!("{trouble}");
        }
        Ok(Self { node: Arc::new(node), troubles })
    }

    /// The helper's process, while one runs; for tests that end it.
    #[doc(hidden)]
    pub async fn helper_pid(&self) -> Option<u32> {
        self.node.helper.pid().await
    }
}

fn check_name(parent: &str) -> Result<(), OpenError> {
    let part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:".contains(c))
    };
    if parent.len() <= PARENT_MAX && parent.split('/').all(part) {
        return Ok(());
    }
    Err(OpenError::BadName(parent.to_owned()))
}

impl Node {
    pub(crate) fn pool(&self) -> &str {
        self.parent.split('/').next().unwrap_or(&self.parent)
    }

    pub(crate) fn dataset(&self, volume: &VolumeId) -> String {
        format!("{}/{volume}", self.parent)
    }

    /// Where a live volume is mounted.
    pub(crate) fn folder(&self, volume: &VolumeId) -> PathBuf {
        self.mounts.join(volume.as_str())
    }

    pub(crate) fn about<'a>(&'a self, action: &'a str, volume: &'a VolumeId) -> About<'a> {
        About { action, volume, pool: &self.parent }
    }

    async fn make_parent(&self) -> Result<(), OpenError> {
        let failed =
            |error| OpenError::NoParent { parent: self.parent.clone(), reason: why_no_zfs(&error) };
        if !self.exists(self.pool()).await.map_err(failed)? {
            return Err(OpenError::NoPool(self.pool().to_owned()));
        }
        let mut name = String::new();
        for part in self.parent.split('/') {
            name = if name.is_empty() { part.to_owned() } else { format!("{name}/{part}") };
            if !self.exists(&name).await.map_err(failed)? {
                // Nothing is ever written to it itself.
                let properties = Map::from([
                    ("canmount".to_owned(), Value::Unsigned(0)),
                    ("mountpoint".to_owned(), "none".into()),
                ]);
                let create = Call::Create { name: name.clone(), properties, key: None };
                self.helper.call(create).await.map_err(failed)?;
            }
        }
        Ok(())
    }

    async fn exists(&self, name: &str) -> Result<bool, CallError> {
        let answer = self.helper.call(Call::Exists { name: name.to_owned() }).await?;
        Ok(answer.get("exists").is_some_and(Value::is_true))
    }

    /// Runs a channel program and answers what it returned.
    pub(crate) async fn program(
        &self,
        program: &str,
        sync: bool,
        arguments: Map,
    ) -> Result<Map, CallError> {
        let (pool, program) = (self.pool().to_owned(), program.to_owned());
        let answer = self.helper.call(Call::Program { pool, program, sync, arguments }).await?;
        let returned = answer.get("return").and_then(Value::list).cloned();
        returned.ok_or_else(|| CallError::Unknown("a channel program answered nothing".to_owned()))
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

    /// As [`Node::turn`], if nobody else changes the volume.
    fn turn_now(&self, volume: &VolumeId) -> Option<OwnedMutexGuard<()>> {
        Arc::clone(&self.entry(volume).changes).try_lock_owned().ok()
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

    /// Works on files and mounts away from the threads that serve everybody: a disk may take its time.
    pub(crate) async fn files<T: Send + 'static>(
        &self,
        action: &str,
        path: &Path,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, BackendError> {
        let owned = path.to_owned();
        let done = tokio::task::spawn_blocking(move || work(&owned)).await;
        done.map_err(io::Error::other).flatten().map_err(|error| {
            if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
                return BackendError::PoolFull { pool: self.parent.clone() };
            }
            io_failure(action, path, &error)
        })
    }

    async fn capacity(&self) -> Result<Capacity, BackendError> {
        let failed = |reason| BackendError::Failed {
            action: format!("could not read the free space of `{}`", self.parent),
            reason,
        };
        let arguments = Map::from([("parent".to_owned(), self.parent.as_str().into())]);
        let program = include_str!("programs/space.lua");
        let answer = self.program(program, false, arguments).await;
        let answer = answer.map_err(|error| failed(why_no_zfs(&error)))?;
        let number = |name| answer.get(name).and_then(Value::number);
        match (number("used"), number("available")) {
            (Some(used), Some(free)) => {
                Ok(Capacity { total: ByteSize(used.saturating_add(free)), free: ByteSize(free) })
            }
            (None, _) | (_, None) => Err(failed("there is no such dataset".to_owned())),
        }
    }
}

#[async_trait]
impl Backend for ZfsBackend {
    fn troubles(&self) -> Vec<String> {
        let mut troubles = self.troubles.clone();
        troubles.extend(self.node.kept());
        troubles
    }

    fn describe(&self) -> Description {
        let features = [
            "snapshot",
            "incremental-send",
            "resume",
            "quota",
            "reservation",
            "encryption",
            "clone",
            "keeping-rollback",
        ];
        Description {
            driver: "zfs".to_owned(),
            streams: "zfs".to_owned(),
            pool: self.node.parent.clone(),
            features: features.map(str::to_owned).to_vec(),
        }
    }

    async fn capacity(&self) -> Result<Capacity, BackendError> {
        self.node.capacity().await
    }

    async fn volumes(&self) -> Result<Vec<VolumeState>, BackendError> {
        self.node.volumes().await
    }

    async fn stat(&self, volume: &VolumeId) -> Result<Option<VolumeState>, BackendError> {
        self.node.stat(volume).await
    }

    async fn written_since(
        &self,
        which: &[(VolumeId, SnapshotTag)],
    ) -> Result<Vec<Option<ByteSize>>, BackendError> {
        self.node.written_since(which).await
    }

    async fn bookmarks(&self, volume: &VolumeId) -> Result<Vec<Point>, BackendError> {
        self.node.bookmarks(volume).await
    }

    async fn create(
        &self,
        op: &Op,
        volume: &VolumeId,
        options: &VolumeOptions,
        owner: Option<(u32, u32)>,
    ) -> Result<Change, BackendError> {
        let _turn = self.node.turn(volume).await;
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
        let at_epoch = |id: &VolumeId| VolumeEpoch { id: id.clone(), epoch: op.epoch };
        let volumes: Vec<VolumeEpoch> = volumes.iter().map(at_epoch).collect();
        self.node.snapshot(&op.id, &volumes, tag).await
    }

    async fn snapshot_together(
        &self,
        id: &OperationId,
        volumes: &[VolumeEpoch],
        tag: &SnapshotTag,
    ) -> Option<Vec<Snapshot>> {
        // The others do not wait for one that somebody works on, for however long.
        let _turns: Vec<_> =
            volumes.iter().map(|volume| self.node.turn_now(&volume.id)).collect::<Option<_>>()?;
        self.node.snapshot(id, volumes, tag).await.ok()
    }

    async fn snapshots(&self, volume: &VolumeId) -> Result<Vec<Snapshot>, BackendError> {
        Ok(self.node.need(volume).await?.snapshots)
    }

    async fn destroy_snapshots(
        &self,
        op: &Op,
        volume: &VolumeId,
        which: &[Point],
    ) -> Result<Change, BackendError> {
        let _turn = self.node.turn(volume).await;
        let volume = VolumeEpoch { id: volume.clone(), epoch: op.epoch };
        let changes = self.node.destroy_snapshots(&op.id, &[(volume, which.to_vec())]).await?;
        Ok(changes.first().copied().unwrap_or(Change::None))
    }

    async fn destroy_snapshots_together(
        &self,
        id: &OperationId,
        which: &[(VolumeEpoch, Vec<Point>)],
    ) -> Option<Vec<Change>> {
        let _turns: Vec<_> =
            which.iter().map(|(v, _)| self.node.turn_now(&v.id)).collect::<Option<_>>()?;
        self.node.destroy_snapshots(id, which).await.ok()
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
        Node::receive(&self.node, op, volume, base, to, options).await
    }

    async fn abort_receive(&self, op: &Op, volume: &VolumeId) -> Result<Change, BackendError> {
        let _turn = self.node.turn(volume).await;
        self.node.abort_receive(op, volume).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_is_a_name_of_a_dataset_and_nothing_else() {
        for good in ["tank", "tank/flocker", "rpool/a/b_c", "Tank/x:y"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in
            ["", "/", "/tank", "tank/", "tank/a@b", "tank/-a", "-o", "a b", "a/%recv", "tank//x"]
        {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        assert!(check_name(&"a".repeat(71)).is_err());
    }

    #[tokio::test]
    async fn what_is_missing_is_named() {
        let config = ZfsConfig {
            parent: "tank/flocker".to_owned(),
            mounts: "/nowhere".into(),
            helper: "/nowhere/flocker-zfs-helper".into(),
            secrets: "/nowhere".into(),
            zfs: Some("/bin/true".into()),
        };

        let error = ZfsBackend::open(config.clone()).await.unwrap_err().to_string();
        assert!(error.contains("/nowhere/flocker-zfs-helper") && error.contains("hint"), "{error}");
        let error = ZfsBackend::open(ZfsConfig { helper: "/bin/false".into(), ..config });
        let error = error.await.unwrap_err().to_string();
        assert!(error.contains("/bin/false") && error.contains("hint"), "{error}");
    }
}
