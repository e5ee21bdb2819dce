//! Operations: what takes time, in phases that may each be run twice.

use std::{fmt, time::Duration};

use crate::{AppName, ByteSize, Epoch, NodeName, OperationId, SnapshotTag, Timestamp};

/// Something that takes time: it has an id, a journal, progress, a deadline, and a reason when it waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Its id.
    pub id: OperationId,
    /// The app it is about.
    pub app: AppName,
    /// What it does.
    pub kind: OperationKind,
    /// Why it was started.
    pub purpose: Purpose,
    /// How it stands.
    pub state: OperationState,
    /// The phase that runs or ran last.
    pub phase: Phase,
    /// Once set, it goes back instead of on. Never set after the point of no return.
    pub undoing: Option<String>,
    /// It went on past something that an operator should look at; it ends as failed.
    pub trouble: Option<String>,
    /// When it was started.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// When clients' connections began to be held; the park has a budget.
    pub parked: Option<Timestamp>,
    /// What each phase took, for people and for the report.
    pub report: MoveReport,
}

/// What an operation does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperationKind {
    /// Makes volumes and containers on a node, and starts them. On the nodes `tried` that was not possible.
    Deploy { target: NodeName, tried: Vec<NodeName> },
    /// Replaces the containers where they are, with a new manifest.
    Update { node: NodeName, manifest: String },
    /// Moves the app with its data.
    Move { source: NodeName, target: NodeName, epoch: Epoch },
    /// Stops the app and removes it; its own volumes too when asked.
    Remove { node: Option<NodeName>, volumes: bool },
}

/// Why an operation was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// An operator asked for it.
    Operator,
    /// The app was deployed and needs a place.
    Create,
    /// Its node is being drained.
    Drain,
    /// A policy found a better place.
    Rebalance,
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Operator => "operator",
            Self::Create => "create",
            Self::Drain => "drain",
            Self::Rebalance => "rebalance",
        })
    }
}

/// How an operation stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperationState {
    /// It is being worked on.
    Running,
    /// It cannot go on at the moment, and this is why.
    Waiting { reason: String },
    /// It did what it was to do.
    Done,
    /// It was undone; everything is as it was before.
    Aborted { reason: String },
    /// It ended without having done what it was to do, and left what `reason` says.
    Failed { reason: String },
}

impl OperationState {
    /// Whether nothing more will happen.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::Running | Self::Waiting { .. } => false,
            Self::Done | Self::Aborted { .. } | Self::Failed { .. } => true,
        }
    }
}

/// The phases of all operations, in the order of the longest of them, the move. The others use a part of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It is written down.
    Planned,
    /// The first copy travels while the app runs.
    Seed,
    /// Increments, until the next one is short.
    Converge,
    /// Volumes, where they are new; containers, gated and without their volumes.
    Prepare,
    /// Proxies hold new connections and let go of old ones.
    Park,
    /// The containers end.
    Stop,
    /// The source becomes read-only, durably.
    Seal,
    /// The last increment travels, and both sides compare GUIDs.
    Delta,
    /// The owner is swapped: the point of no return.
    Commit,
    /// The new owner's copy becomes writable.
    Promote,
    /// Volumes are mounted and verified, gates open, the app is ready.
    Start,
    /// Proxies lead to the new owner.
    Unpark,
    /// The old copy becomes a replica, old containers go.
    Reverse,
}

impl Phase {
    /// Every phase, in order.
    pub const ALL: [Self; 13] = [
        Self::Planned,
        Self::Seed,
        Self::Converge,
        Self::Prepare,
        Self::Park,
        Self::Stop,
        Self::Seal,
        Self::Delta,
        Self::Commit,
        Self::Promote,
        Self::Start,
        Self::Unpark,
        Self::Reverse,
    ];

    /// The word for it, in every output.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Seed => "seed",
            Self::Converge => "converge",
            Self::Prepare => "prepare",
            Self::Park => "park",
            Self::Stop => "stop",
            Self::Seal => "seal",
            Self::Delta => "delta",
            Self::Commit => "commit",
            Self::Promote => "promote",
            Self::Start => "start",
            Self::Unpark => "unpark",
            Self::Reverse => "reverse",
        }
    }

    /// The phase of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.as_str() == name)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What an operation did, phase by phase.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MoveReport {
    /// Phases in the order in which they ran; a phase that ran twice stands twice, and so does one that failed and was
    /// undone.
    pub phases: Vec<PhaseReport>,
    /// Each snapshot that was sent.
    pub rounds: Vec<Round>,
    /// From the moment when connections were held to the moment when they were released, by the leader's clock.
    pub blackout: Option<Duration>,
}

impl MoveReport {
    /// The bytes of all streams together.
    #[must_use]
    pub fn bytes(&self) -> ByteSize {
        self.rounds.iter().map(|r| r.transfer.bytes).sum()
    }
}

/// One phase that ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhaseReport {
    /// The phase.
    pub phase: Phase,
    /// How long it took.
    pub took: Duration,
    /// Whether it was run to go back.
    pub undo: bool,
    /// Why it did not succeed, or what it could not do and left for later.
    pub trouble: Option<String>,
}

/// One snapshot of the app's volumes that travelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Round {
    /// The snapshot.
    pub tag: SnapshotTag,
    /// What it cost.
    pub transfer: Transfer,
}

/// What a stream cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Transfer {
    /// Bytes that crossed the network.
    pub bytes: ByteSize,
    /// Bytes that did not have to, because the receiver held them from an attempt before.
    pub resumed: ByteSize,
    /// How long it took.
    pub took: Duration,
}
