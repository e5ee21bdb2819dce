//! Sending a snapshot of a volume to another node.

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use flocker_model::{
    ByteSize, Epoch, NodeName, OperationId, Point, Rates, Transfer, VolumeId, VolumeOptions,
};

/// What is to be sent, and to whom.
#[derive(Debug, Clone)]
pub struct SendJob {
    /// The operation on whose behalf it is sent.
    pub operation: OperationId,
    /// The volume.
    pub volume: VolumeId,
    /// The owner's epoch: a receiver that knows a newer one refuses.
    pub epoch: Epoch,
    /// The snapshot that both sides hold; `None` sends everything.
    pub base: Option<Point>,
    /// The snapshot to be sent.
    pub to: Point,
    /// What the volume is like, and the replica as well.
    pub options: VolumeOptions,
    /// This node.
    pub source: NodeName,
    /// The node that receives.
    pub target: NodeName,
    /// Where it receives.
    pub address: SocketAddr,
    /// The most that is sent in a second, with whatever else is sent to that node within a limit.
    pub rates: Rates,
}

/// How far a stream has come; shared with whoever shows it.
#[derive(Debug, Clone)]
pub struct Progress {
    bytes: Arc<AtomicU64>,
    began: Instant,
}

impl Default for Progress {
    fn default() -> Self {
        Self { bytes: Arc::default(), began: Instant::now() }
    }
}

impl Progress {
    /// More bytes crossed.
    pub fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The bytes that crossed so far.
    #[must_use]
    pub fn bytes(&self) -> ByteSize {
        ByteSize(self.bytes.load(Ordering::Relaxed))
    }

    /// The time since it began.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}

/// Sends snapshots to other nodes.
#[async_trait]
pub trait Replication: Send + Sync + fmt::Debug {
    /// Sends one snapshot and returns when the receiver holds it durably and confirmed its GUID. Sending one that the
    /// receiver holds already costs one round trip. Goes on where a cut left off.
    async fn send(&self, job: &SendJob, progress: &Progress) -> Result<Transfer, ReplicationError>;
}

/// Why a snapshot did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum ReplicationError {
    /// The receiver cannot be reached, or went away; trying again goes on from there.
    #[error("node `{target}` could not be reached at {address}: {reason}")]
    Unreachable { target: NodeName, address: SocketAddr, reason: String },
    /// The receiver said no; trying again will not help.
    #[error("node `{target}` refused the stream: {reason}")]
    Refused { target: NodeName, reason: String },
    /// The nodes do not know each other's keys, or only one of them wants keys. Trying again helps once somebody changed that.
    #[error("no stream to node `{target}` at {address}: {reason}")]
    Untrusted { target: NodeName, address: SocketAddr, reason: String },
    /// This side could not read its own snapshot.
    #[error(transparent)]
    Source(#[from] crate::BackendError),
}
