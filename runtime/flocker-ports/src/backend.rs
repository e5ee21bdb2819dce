//! The storage of one node, as the engine needs it.

use std::{collections::BTreeMap, fmt, path::PathBuf, pin::Pin};

use async_trait::async_trait;
use bytes::Bytes;
use flocker_model::{
    ByteSize, Capacity, Epoch, OperationId, Point, Snapshot, SnapshotTag, Timestamp, VolumeId,
    VolumeOptions, VolumeState,
};
use futures::Stream;

use crate::VolumeEpoch;

/// Who asks for a change. The same operation asking for the same change again is answered as if nothing had been lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Op {
    /// The operation on whose behalf the change is made.
    pub id: OperationId,
    /// The epoch under which it is made; one older than the volume's is refused.
    pub epoch: Epoch,
}

/// Whether a change was needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It was made now.
    Made,
    /// It was so already.
    None,
}

/// What a backend is and can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// "btrfs", "zfs", …
    pub driver: String,
    /// Where its pool is, for people.
    pub pool: String,
    /// The form of the streams that it sends and takes. Backends that name another one cannot send to each other.
    pub streams: String,
    /// "snapshot", "incremental-send", "resume", "quota", …
    pub features: Vec<String>,
}

/// A plugin that is a node's storage, and how it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoragePlugin {
    /// What it calls itself.
    pub name: String,
    /// The version it gives itself.
    pub version: String,
    /// `sha256:…` of its file.
    pub digest: String,
    /// Whether one of its functions broke it when that was last called.
    pub failing: bool,
    /// What broke it last.
    pub trouble: Option<String>,
    /// How often one of its functions was called.
    pub calls: u64,
    /// How often that broke it.
    pub failures: u64,
}

/// Where a volume's files are on this node, and how to prove that a mount shows them and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The folder that containers see.
    pub path: PathBuf,
    /// `st_dev` of that folder.
    pub device: u64,
    /// `st_ino` of that folder.
    pub inode: u64,
}

/// Opaque to everyone but the backend that made it: how far an unfinished receive has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResumeToken(pub String);

/// A stream of bytes that a backend produces; it ends with an error if the producer failed.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, BackendError>> + Send>>;

/// The storage of one node.
///
/// Every change carries an [`Op`], may be asked for twice, and says whether it changed anything. A change under an
/// older epoch than the volume's is refused with [`BackendError::StaleEpoch`] and has no effect. What was answered is
/// durable. Snapshots are compared by GUID.
#[async_trait]
pub trait Backend: Send + Sync + fmt::Debug {
    /// What this backend is.
    fn describe(&self) -> Description;

    /// What an operator should look at: volumes that could not be put in order, data that was put aside. One line each.
    fn troubles(&self) -> Vec<String> {
        Vec::new()
    }

    /// The plugin behind it, where one is.
    fn plugin(&self) -> Option<StoragePlugin> {
        None
    }

    /// Space of the pool.
    async fn capacity(&self) -> Result<Capacity, BackendError>;

    /// Every volume of ours on this node. An error means *unknown*, never *none*.
    async fn volumes(&self) -> Result<Vec<VolumeState>, BackendError>;

    /// One volume; `None` when it is certain that there is none.
    async fn stat(&self, volume: &VolumeId) -> Result<Option<VolumeState>, BackendError>;

    /// When somebody last wrote to each of these live volumes, by this node's clock, as far as it reached the disk: what a
    /// program wrote without asking for that may be known half a minute later. Taking a snapshot of a volume is no writing.
    /// One that is not in the answer may have been written to at any time: so says a backend that cannot tell.
    async fn written(
        &self,
        _volumes: &[VolumeId],
    ) -> Result<BTreeMap<VolumeId, Timestamp>, BackendError> {
        Ok(BTreeMap::new())
    }

    /// How much was written to each volume since its snapshot of this name, where the storage can tell; nothing, where the
    /// volume holds nothing that the snapshot lacks. In the order of the volumes.
    async fn written_since(
        &self,
        which: &[(VolumeId, SnapshotTag)],
    ) -> Result<Vec<Option<ByteSize>>, BackendError> {
        Ok(vec![None; which.len()])
    }

    /// Snapshots of the volume that are gone, and from which an increment can be sent nevertheless; oldest first.
    /// [`Backend::destroy_snapshots`] forgets them.
    async fn bookmarks(&self, _volume: &VolumeId) -> Result<Vec<Point>, BackendError> {
        Ok(Vec::new())
    }

    /// Makes an empty live volume at `op.epoch`, whose folder belongs to `owner` where given. An option that it cannot keep
    /// is [`BackendError::Unsupported`].
    async fn create(
        &self,
        op: &Op,
        volume: &VolumeId,
        options: &VolumeOptions,
        owner: Option<(u32, u32)>,
    ) -> Result<Change, BackendError>;

    /// Makes a live volume at `op.epoch` with the content of a snapshot of `source`, whatever role that copy has, and like it in
    /// all options. It has no snapshots yet. Neither of the two needs the other from then on: both, and the snapshot, can be
    /// removed. Only where the feature `clone` is declared.
    async fn clone_volume(
        &self,
        _op: &Op,
        _source: &VolumeId,
        _at: &Point,
        _volume: &VolumeId,
    ) -> Result<Change, BackendError> {
        Err(BackendError::Unsupported {
            driver: self.describe().driver,
            what: "cannot clone a volume".to_owned(),
            hint: "copy its files into a new volume, or keep it on btrfs or ZFS".to_owned(),
        })
    }

    /// Puts a live volume at `op.epoch` back to its snapshot `to`: it has the content of that, and its snapshots up to it with
    /// their GUIDs. What it was until now, with the later snapshots, becomes the live volume `kept` at the same epoch. Nothing
    /// may use it meanwhile. Only where the feature `keeping-rollback` is declared.
    async fn rollback(
        &self,
        _op: &Op,
        _volume: &VolumeId,
        _to: &Point,
        _kept: &VolumeId,
    ) -> Result<Change, BackendError> {
        Err(BackendError::Unsupported {
            driver: self.describe().driver,
            what: "cannot put a volume back to a snapshot".to_owned(),
            hint: "restore its files from a copy, or keep it on btrfs or ZFS".to_owned(),
        })
    }

    /// Changes how much the volume can hold.
    async fn resize(
        &self,
        op: &Op,
        volume: &VolumeId,
        size: ByteSize,
    ) -> Result<Change, BackendError>;

    /// Removes the volume and all its snapshots here. Only ever called on an operator's word.
    async fn destroy(&self, op: &Op, volume: &VolumeId) -> Result<Change, BackendError>;

    /// Takes a snapshot of all of `volumes` under one name, or of none. One that exists by that name is answered again.
    async fn snapshot(
        &self,
        op: &Op,
        volumes: &[VolumeId],
        tag: &SnapshotTag,
    ) -> Result<Vec<Snapshot>, BackendError>;

    /// As [`Backend::snapshot`] of volumes that need not be of one epoch, in one change. `None` where storage has nothing to
    /// gain from that, or where it was not done for all: asked for on its own, each says why.
    async fn snapshot_together(
        &self,
        _id: &OperationId,
        _volumes: &[VolumeEpoch],
        _tag: &SnapshotTag,
    ) -> Option<Vec<Snapshot>> {
        None
    }

    /// The volume's snapshots, oldest first.
    async fn snapshots(&self, volume: &VolumeId) -> Result<Vec<Snapshot>, BackendError>;

    /// Removes snapshots whose GUID still matches; one that is gone already is no error.
    async fn destroy_snapshots(
        &self,
        op: &Op,
        volume: &VolumeId,
        which: &[Point],
    ) -> Result<Change, BackendError>;

    /// As [`Backend::destroy_snapshots`] of many volumes, in one change. `None` as with [`Backend::snapshot_together`].
    async fn destroy_snapshots_together(
        &self,
        _id: &OperationId,
        _which: &[(VolumeEpoch, Vec<Point>)],
    ) -> Option<Vec<Change>> {
        None
    }

    /// Where the live volume's files are. Refused unless it is live at `op.epoch`.
    async fn attach(&self, op: &Op, volume: &VolumeId) -> Result<Attachment, BackendError>;

    /// Live to sealed: read-only from now on, durably. Snapshots of it may still be taken, sent and removed; nothing under
    /// `op.epoch` or an older epoch makes it writable again, but `unseal` at the same epoch.
    async fn seal(&self, op: &Op, volume: &VolumeId) -> Result<Change, BackendError>;

    /// Sealed back to live at the same epoch: a move that was aborted before its commit.
    async fn unseal(&self, op: &Op, volume: &VolumeId) -> Result<Change, BackendError>;

    /// Replica (or sealed copy) to live at `op.epoch`, which must be newer than the volume's, with the content of `at`,
    /// which must be its newest snapshot; otherwise [`BackendError::Diverged`].
    async fn promote(&self, op: &Op, volume: &VolumeId, at: &Point)
    -> Result<Change, BackendError>;

    /// Sealed to replica at `at`, the snapshot taken while it was sealed. A live volume is refused: it may hold more.
    /// `op.epoch` is the new owner's epoch, which this copy remembers from now on.
    async fn retire(&self, op: &Op, volume: &VolumeId, at: &Point) -> Result<Change, BackendError>;

    /// The stream that makes `to` out of `base`, or out of nothing. With `resume`, what the receiver lacks of it;
    /// [`BackendError::CannotResume`] when this stream cannot be continued from there.
    async fn send(
        &self,
        volume: &VolumeId,
        base: Option<&Point>,
        to: &Point,
        resume: Option<&ResumeToken>,
    ) -> Result<ByteStream, BackendError>;

    /// Begins, or goes on with, receiving `to` into a replica of the volume. Refused on a live or sealed copy, and when
    /// `base` is not here. The replica gets `options`; one that is here keeps all of its own but the size.
    async fn receive(
        &self,
        op: &Op,
        volume: &VolumeId,
        base: Option<&Point>,
        to: &Point,
        options: &VolumeOptions,
    ) -> Result<Box<dyn Receiver>, BackendError>;

    /// Throws away an unfinished receive, if there is one. A replica that was never finished disappears with it.
    async fn abort_receive(&self, op: &Op, volume: &VolumeId) -> Result<Change, BackendError>;
}

/// One stream on its way into a replica. Dropped before `finish`, it keeps what was written, for a later resume.
#[async_trait]
pub trait Receiver: Send + fmt::Debug {
    /// How far an earlier attempt came; `None` when there was none.
    fn resume_token(&self) -> Option<ResumeToken>;

    /// How many bytes of the stream earlier attempts brought, for people; zero where that is not known.
    fn held(&self) -> ByteSize {
        ByteSize(0)
    }

    /// Takes the next bytes, which were verified by the caller.
    async fn write(&mut self, chunk: Bytes) -> Result<(), BackendError>;

    /// The stream is complete and was verified: makes the snapshot count, durably, and checks that its GUID is the one
    /// that was announced.
    async fn finish(self: Box<Self>) -> Result<Snapshot, BackendError>;
}

/// Refuses options that storage of this kind must not leave out and cannot keep: room that is reserved, and encryption.
///
/// # Errors
/// [`BackendError::Unsupported`], where one of them is asked for.
pub fn refuse_reserved_and_secret(
    driver: &str,
    options: &VolumeOptions,
) -> Result<(), BackendError> {
    let refuse = |what: &str, option: &str| BackendError::Unsupported {
        driver: driver.to_owned(),
        what: what.to_owned(),
        hint: format!("leave out `{option}`, or keep the volume on ZFS"),
    };
    if options.secret.is_some() {
        return Err(refuse("cannot encrypt a volume", "secret"));
    }
    if options.reserved {
        return Err(refuse("cannot reserve room for a volume", "reserve"));
    }
    Ok(())
}

/// The receiver of a snapshot that is here already: takes the stream and throws it away.
#[derive(Debug)]
pub struct HereAlready(pub Snapshot);

#[async_trait]
impl Receiver for HereAlready {
    fn resume_token(&self) -> Option<ResumeToken> {
        None
    }

    async fn write(&mut self, _chunk: Bytes) -> Result<(), BackendError> {
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<Snapshot, BackendError> {
        Ok(self.0)
    }
}

/// What a backend refuses or cannot do, by what it means to the caller.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// There is no such volume here.
    #[error("volume `{0}` does not exist on this node")]
    NoSuchVolume(VolumeId),
    /// There is no such snapshot here, or one of that name with another GUID.
    #[error("volume `{volume}` has no snapshot `{tag}` with the expected GUID on this node")]
    NoSuchSnapshot { volume: VolumeId, tag: SnapshotTag },
    /// Someone was given the volume since.
    #[error("volume `{volume}` is at epoch {current} here, the request came under epoch {asked}")]
    StaleEpoch { volume: VolumeId, current: Epoch, asked: Epoch },
    /// The volume is not in the role that the change needs.
    #[error("volume `{volume}` is {found} here, but must be {needed}")]
    WrongRole { volume: VolumeId, found: &'static str, needed: &'static str },
    /// The copies have different histories; nothing was destroyed.
    #[error(
        "volume `{volume}` has diverged: expected its newest snapshot to be `{expected}`, found `{found}`"
    )]
    Diverged { volume: VolumeId, expected: String, found: String },
    /// This storage cannot do what is asked of it.
    #[error("storage of the kind `{driver}` {what}\nhint: {hint}")]
    Unsupported { driver: String, what: String, hint: String },
    /// Something holds it.
    #[error("volume `{volume}` is busy: {holder}")]
    Busy { volume: VolumeId, holder: String },
    /// The pool has no room.
    #[error("pool `{pool}` is full\nhint: free space on it, or give it more with `--pool-size`")]
    PoolFull { pool: String },
    /// The receive cannot go on from where it stopped; start it again from the beginning.
    #[error("the stream cannot be resumed: {reason}")]
    CannotResume { reason: String },
    /// The bytes received are not the snapshot that was announced.
    #[error("the received stream is not what was announced: {reason}")]
    CorruptStream { reason: String },
    /// The storage itself failed.
    #[error("{action}: {reason}")]
    Failed { action: String, reason: String },
}
