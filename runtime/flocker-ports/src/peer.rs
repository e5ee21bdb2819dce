//! A node's agent, as the leader sees it: it obeys orders and says what it sees.

use std::{collections::BTreeMap, fmt, net::SocketAddr, time::Duration};

use async_trait::async_trait;
use flocker_model::{
    AppName, ByteSize, ContainerName, Epoch, NodeName, NodeStats, OperationId, Point, Revision,
    Snapshot, SnapshotTag, Timestamp, Transfer, Volume, VolumeId, VolumeOptions, VolumeState,
};

use crate::{ContainerState, LogStream, StoragePlugin};

/// One step of an operation, for one node. May be given twice, also after a crash of either side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The operation.
    pub operation: OperationId,
    /// The app it is about.
    pub app: AppName,
    /// The app's epoch under which the order is given; the agent refuses one older than it has seen.
    pub epoch: Epoch,
    /// The revision of the records that led to the order. Under one epoch, the agent refuses an order that is older than
    /// one it obeyed: the network may have kept it back.
    pub revision: Revision,
    /// What to do.
    pub step: Step,
}

/// What an agent can be told to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Make the empty volumes, live.
    CreateVolumes { volumes: Vec<VolumeOrder> },
    /// Make a live volume with the content of a snapshot of another one here.
    Clone { source: VolumeId, at: Point, volume: VolumeEpoch },
    /// Put a live volume that no app here uses back to a snapshot; what it was until now becomes the volume `kept`.
    Rollback { volume: VolumeEpoch, to: Point, kept: VolumeId },
    /// Take one snapshot of all volumes. Answers [`Reply::Snapshots`].
    Snapshot { volumes: Vec<VolumeEpoch>, tag: SnapshotTag },
    /// List a volume's snapshots on this node, oldest first; none where there is no such volume. Answers [`Reply::Snapshots`].
    ListSnapshots { volume: VolumeEpoch },
    /// Send a snapshot to another node, as the difference from `base` where given. Answers [`Reply::Sent`].
    Send {
        volume: VolumeEpoch,
        options: VolumeOptions,
        base: Option<Point>,
        to: Point,
        target: NodeName,
        address: SocketAddr,
    },
    /// Throw away what was half received.
    AbortReceive { volumes: Vec<VolumeEpoch> },
    /// Have the images, and nothing else.
    Fetch { manifest: String },
    /// Have the images and make the containers, started up to their gates, without volumes.
    Prepare { manifest: String },
    /// Remove prepared containers again; one whose process runs is left alone.
    Discard,
    /// Return when the proxy follows the routes of this revision.
    AwaitRoutes { revision: Revision },
    /// End the containers and keep them ended, until a start under this epoch or a newer one.
    Stop,
    /// Make the volumes read-only, durably.
    Seal { volumes: Vec<VolumeEpoch> },
    /// Take the seal back.
    Unseal { volumes: Vec<VolumeEpoch> },
    /// Make the replicas writable at the given epochs.
    Promote { volumes: Vec<(VolumeEpoch, Point)> },
    /// Attach and mount the volumes, open the gates, wait until the app is ready.
    Start { manifest: String, volumes: Vec<AttachOrder> },
    /// Make the sealed copies replicas, and remove the app's containers.
    Retire { volumes: Vec<(VolumeEpoch, Point)> },
    /// Remove the app's containers, running or not. Only its epoch is remembered.
    Remove,
    /// Remove volumes for good.
    DestroyVolumes { volumes: Vec<VolumeEpoch> },
    /// Remove read-only copies for good; one that is not, or is not any more, is refused.
    DestroyReplicas { volumes: Vec<VolumeEpoch> },
    /// Remove snapshots that nobody needs any more.
    DestroySnapshots { volume: VolumeEpoch, which: Vec<Point> },
}

/// A volume and the epoch under which it is to be touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeEpoch {
    /// The volume.
    pub id: VolumeId,
    /// Its epoch.
    pub epoch: Epoch,
}

/// Under the epoch that its record says.
impl From<&Volume> for VolumeEpoch {
    fn from(volume: &Volume) -> Self {
        Self { id: volume.id.clone(), epoch: volume.epoch }
    }
}

/// A volume to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeOrder {
    /// The volume.
    pub volume: VolumeEpoch,
    /// What it is to be like.
    pub options: VolumeOptions,
    /// Who owns the empty folder.
    pub owner: Option<(u32, u32)>,
}

/// A volume to be mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachOrder {
    /// The volume.
    pub volume: VolumeEpoch,
    /// What the manifest calls it.
    pub key: String,
}

/// What an agent answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// It is so.
    Done,
    /// The snapshots, in the order of the volumes.
    Snapshots(Vec<Snapshot>),
    /// What the stream cost.
    Sent(Transfer),
}

/// What an agent sees on its node.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Observation {
    /// The machine.
    pub stats: NodeStats,
    /// The volumes; `None` when that is unknown.
    pub volumes: Option<Vec<VolumeState>>,
    /// When somebody last wrote to its live volumes, by its own clock (see `stats.at`), as far as it can tell.
    pub written: BTreeMap<VolumeId, Timestamp>,
    /// The apps that it was told about; `None` when the container engine does not answer.
    pub apps: Option<Vec<ObservedApp>>,
    /// Streams that it sends at the moment: operation and bytes so far.
    pub sending: Vec<(OperationId, ByteSize)>,
    /// The replicas that it keeps up to date on other nodes.
    pub replicas: Vec<ReplicaSeen>,
    /// What the operator should know: a dead engine, a full pool.
    pub troubles: Vec<String>,
    /// The plugin that keeps its volumes, where one does.
    pub storage: Option<StoragePlugin>,
}

/// A replica, as the volume's owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaSeen {
    /// The volume.
    pub volume: VolumeId,
    /// The node that has the replica.
    pub node: NodeName,
    /// The newest snapshot that it is known to hold; `None`: none, or that is not known.
    pub at: Option<Point>,
    /// How long ago it held everything that was written; `None`: never, or that is not known.
    pub behind: Option<Duration>,
    /// What was written here since the snapshot that it holds, where the storage can tell.
    pub lacks: Option<ByteSize>,
    /// What is on its way there, of one stream: bytes that crossed.
    pub sending: Option<ByteSize>,
    /// What was sent since the node's daemon began.
    pub sent: Sent,
    /// What keeps it from being up to date.
    pub trouble: Option<String>,
}

/// What was sent to a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sent {
    /// Snapshots that arrived.
    pub snapshots: u64,
    /// Bytes that crossed, those of streams that were cut included.
    pub bytes: ByteSize,
    /// How long the last snapshot took.
    pub last: Option<Duration>,
}

/// An app on one node.
#[derive(Debug, Clone, PartialEq)]
pub struct ObservedApp {
    /// The app.
    pub app: AppName,
    /// The epoch under which the node holds it.
    pub epoch: Epoch,
    /// Whether the agent was told to run it, and keeps it running. False where it only finds containers of it.
    pub kept: bool,
    /// Its containers.
    pub containers: Vec<ObservedContainer>,
}

/// A container on one node.
#[derive(Debug, Clone, PartialEq)]
pub struct ObservedContainer {
    /// Its name in the app.
    pub name: ContainerName,
    /// How it stands.
    pub state: ContainerState,
    /// What the last health checks said; `None` without a health check.
    pub healthy: Option<bool>,
    /// How often it was started again since the app came here.
    pub restarts: u32,
    /// When it is to be started again.
    pub restart_at: Option<Timestamp>,
}

/// A node's agent.
#[async_trait]
pub trait Peer: Send + Sync + fmt::Debug {
    /// Does one step. Idempotent.
    async fn perform(&self, order: Order) -> Result<Reply, PeerError>;

    /// What it sees.
    async fn observe(&self) -> Result<Observation, PeerError>;

    /// The output of an app's containers, or of one of them.
    async fn logs(
        &self,
        app: &AppName,
        container: Option<&ContainerName>,
        follow: bool,
        tail: Option<u32>,
    ) -> Result<LogStream, PeerError>;
}

/// Why an agent did not do it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("node `{node}`: {message}")]
pub struct PeerError {
    /// The node.
    pub node: NodeName,
    /// What the leader should make of it.
    pub kind: PeerErrorKind,
    /// For people.
    pub message: String,
}

/// What the leader should make of an agent's error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerErrorKind {
    /// It may have been done or not; ask again.
    Unreachable,
    /// It was not done, but may be later: a dead engine, a full pool.
    Retry,
    /// It will not be done: a stale epoch, a diverged copy, an image that does not exist.
    Refused,
}
