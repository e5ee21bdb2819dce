//! The cluster as the store remembers it, and what nodes say of themselves.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::SocketAddr,
    time::Duration,
};

use crate::{
    AppName, ByteSize, CpuMillis, Epoch, Guid, NodeName, OperationId, Point, Rates, SnapshotTag,
    StreamKey, Timestamp, VolumeId, VolumeName, VolumeOptions,
};

/// A machine of the cluster, as it registered itself and as operators marked it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: NodeName,
    /// Where its gRPC is answered.
    pub api: SocketAddr,
    /// Where other nodes' proxies hand over connections.
    pub mesh: SocketAddr,
    /// Where it receives streams.
    pub replication: SocketAddr,
    /// Labels, from its configuration and from operators.
    pub labels: BTreeMap<String, String>,
    /// The keys of those labels that come from its configuration, and go when the configuration drops them.
    pub configured: BTreeSet<String>,
    /// An operator wants it empty.
    pub draining: bool,
    /// Made anew at each installation: two machines with one name are told apart.
    pub identity: String,
    /// By what others know it on streams. None where it takes them in the clear, or is older than keys.
    pub stream_key: Option<StreamKey>,
}

/// What a node says of itself at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeStats {
    /// Memory of the machine.
    pub memory: Capacity,
    /// CPUs of the machine.
    pub cpu: CpuMillis,
    /// Space of its pool.
    pub pool: Capacity,
    /// The streams that its storage sends and takes; nodes that have others cannot send volumes to each other. Empty
    /// until it said so.
    pub streams: String,
    /// One-minute load average, in thousandths.
    pub load_millis: u32,
    /// When it said so, by its own clock.
    pub at: Timestamp,
}

/// A size and what is left of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capacity {
    /// All of it.
    pub total: ByteSize,
    /// What is free.
    pub free: ByteSize,
}

/// An app as the cluster knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppRecord {
    /// Its name.
    pub name: AppName,
    /// The Compose file as it was deployed; the only description of the app that is stored.
    pub manifest: String,
    /// The node that runs it; `None` until it was placed.
    pub owner: Option<NodeName>,
    /// Grows by one at each change of owner.
    pub epoch: Epoch,
    /// What it should be.
    pub state: AppState,
    /// The operation that holds it. Only one at a time.
    pub operation: Option<OperationId>,
    /// When it last changed its node; policies are not asked to move it again too soon.
    pub placed: Timestamp,
}

/// What an app should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppState {
    /// Placed, or waiting for a place.
    Deployed,
    /// On its way out.
    Removing,
}

/// A volume as the cluster knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its id, on every copy of the data.
    pub id: VolumeId,
    /// Its name.
    pub name: VolumeName,
    /// The app that uses it.
    pub app: Option<AppName>,
    /// The only node that may write it; `None` until it was placed.
    pub owner: Option<NodeName>,
    /// Grows by one at each change of owner.
    pub epoch: Epoch,
    /// What it is to be like.
    pub options: VolumeOptions,
    /// User and group that own the empty volume.
    pub ownership: Option<(u32, u32)>,
    /// Read-only copies on other nodes.
    pub replicas: Vec<Replica>,
    /// Where copies are to be kept up to date; `None`: nowhere.
    pub replication: Option<Replication>,
}

impl Volume {
    /// The nodes that are to be kept up to date by the owner.
    pub fn receivers(&self) -> impl Iterator<Item = &NodeName> {
        let wanted = self.replication.iter().flat_map(|r| r.named.union(&r.chosen));
        wanted.filter(|node| self.owner.as_ref() != Some(*node))
    }

    /// Neither has a node a replica any more nor is it to have one. A place that was chosen is chosen anew.
    pub fn forget_node(&mut self, node: &NodeName) {
        self.replicas.retain(|replica| replica.node != *node);
        let Some(wanted) = &mut self.replication else { return };
        wanted.named.remove(node);
        wanted.chosen.remove(node);
        if wanted.named.is_empty() && wanted.copies == 0 {
            self.replication = None;
        }
    }
}

/// How a volume is replicated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replication {
    /// Nodes that an operator named.
    pub named: BTreeSet<NodeName>,
    /// How many more there are to be, where policies choose.
    pub copies: u32,
    /// What they chose.
    pub chosen: BTreeSet<NodeName>,
    /// How often a snapshot is taken and sent, if something was written since the last.
    pub every: Duration,
    /// The most that is sent in a second to one node.
    pub rates: Rates,
}

/// What a node may still have although no record names it any more: it did not answer when that was removed, and is
/// told again when it does. Written down, because what a node has and no record names is otherwise left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// The node.
    pub node: NodeName,
    /// What it is.
    pub what: Left,
}

/// Something that nobody has any use for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Left {
    /// The app's containers that were made under this epoch or an older one.
    App { name: AppName, epoch: Epoch },
    /// A copy of a volume that nobody wrote to yet, or whose removal was asked for.
    Volume { id: VolumeId, name: VolumeName, epoch: Epoch },
    /// A read-only copy that an operator gave up; the volume itself lives on elsewhere.
    Replica { id: VolumeId, name: VolumeName, epoch: Epoch },
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::App { name, .. } => write!(f, "containers of app `{name}`"),
            Self::Volume { name, .. } => write!(f, "volume `{name}`"),
            Self::Replica { name, .. } => write!(f, "the replica of volume `{name}`"),
        }
    }
}

/// A read-only copy of a volume, at some snapshot of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// Where it is.
    pub node: NodeName,
    /// The snapshot it holds.
    pub tag: SnapshotTag,
    /// That snapshot's identity.
    pub guid: Guid,
    /// Up to when it holds everything, by the leader's clock; `None` where that was not written down.
    pub taken: Option<Timestamp>,
}

impl Replica {
    /// The snapshot it holds, as nodes tell each other about it.
    #[must_use]
    pub fn point(&self) -> Point {
        Point { tag: self.tag.clone(), guid: self.guid.clone() }
    }
}
