//! How the cluster's records are written down: JSON with a version number. The only place that knows.
//!
//! A record of a newer version than ours is refused, never half understood.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use bytes::Bytes;
use flocker_model::{
    AppRecord, AppState, ByteSize, Epoch, MoveReport, Node, NodeName, Operation, OperationKind,
    OperationState, Phase, PhaseReport, Purpose, Round, Timestamp, Transfer, Volume,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use self::volume::StoredVolume;

/// The version that this program writes, and the newest that it reads.
const VERSION: u32 = 1;

/// A record that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("record `{key}` cannot be read: {reason}")]
pub struct RecordError {
    /// Its key.
    pub key: String,
    /// Why.
    pub reason: String,
}

/// Something that is kept in the store.
pub trait Record: Sized {
    /// The first part of its key, with the slash.
    const PREFIX: &'static str;

    /// The rest of its key.
    fn name(&self) -> String;

    /// Its content.
    ///
    /// # Errors
    /// When it cannot be written as JSON, which no record of ours does.
    fn to_bytes(&self) -> Result<Bytes, RecordError>;

    /// Reads it.
    ///
    /// # Errors
    /// When it is damaged, or of a newer version.
    fn from_bytes(key: &str, bytes: &[u8]) -> Result<Self, RecordError>;

    /// Its whole key.
    fn key(&self) -> String {
        format!("{}{}", Self::PREFIX, self.name())
    }
}

#[derive(Serialize, Deserialize)]
struct Envelope<T> {
    v: u32,
    #[serde(flatten)]
    record: T,
}

#[derive(Deserialize)]
struct VersionOnly {
    v: u32,
}

fn write<T: Serialize>(key: String, record: T) -> Result<Bytes, RecordError> {
    let bytes = serde_json::to_vec(&Envelope { v: VERSION, record });
    bytes.map(Bytes::from).map_err(|e| RecordError { key, reason: e.to_string() })
}

fn read<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T, RecordError> {
    let refuse = |reason: String| RecordError { key: key.to_owned(), reason };
    let version: VersionOnly = serde_json::from_slice(bytes).map_err(|e| refuse(e.to_string()))?;
    if version.v > VERSION {
        return Err(refuse(format!(
            "it was written by a newer flocker-runtime (version {} of the record, this program reads up to {VERSION})",
            version.v
        )));
    }
    serde_json::from_slice::<Envelope<T>>(bytes)
        .map(|e| e.record)
        .map_err(|e| refuse(e.to_string()))
}

macro_rules! record {
    ($model:ty, $stored:ty, $prefix:literal, |$value:ident| $name:expr) => {
        impl Record for $model {
            const PREFIX: &'static str = $prefix;

            fn name(&self) -> String {
                let $value = self;
                $name
            }

            fn to_bytes(&self) -> Result<Bytes, RecordError> {
                write(self.key(), <$stored>::from(self))
            }

            fn from_bytes(key: &str, bytes: &[u8]) -> Result<Self, RecordError> {
                let stored: $stored = read(key, bytes)?;
                stored.into_model().map_err(|reason| RecordError { key: key.to_owned(), reason })
            }
        }
    };
}

record!(Node, StoredNode, "node/", |node| node.name.to_string());
record!(AppRecord, StoredApp, "app/", |app| app.name.to_string());
record!(Volume, StoredVolume, "volume/", |volume| volume.name.to_string());
record!(RemovedNode, StoredRemoved, "removed/", |gone| gone.identity.clone());
record!(Operation, StoredOperation, "operation/", |operation| operation.id.to_string());

mod leftover;
pub(crate) mod silence;
mod volume;

/// A name as it was stored, checked again: a store may have been edited by hand.
fn name<T: std::str::FromStr<Err = flocker_model::InvalidName>>(text: String) -> Result<T, String> {
    text.parse().map_err(|e: flocker_model::InvalidName| e.to_string())
}

fn optional<T: std::str::FromStr<Err = flocker_model::InvalidName>>(
    text: Option<String>,
) -> Result<Option<T>, String> {
    text.map(name).transpose()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[derive(Serialize, Deserialize)]
struct StoredNode {
    name: String,
    api: SocketAddr,
    mesh: SocketAddr,
    replication: SocketAddr,
    labels: BTreeMap<String, String>,
    #[serde(default)]
    configured: BTreeSet<String>,
    draining: bool,
    identity: String,
    #[serde(default)]
    stream_key: Option<String>,
}

impl From<&Node> for StoredNode {
    fn from(n: &Node) -> Self {
        Self {
            name: n.name.to_string(),
            api: n.api,
            mesh: n.mesh,
            replication: n.replication,
            labels: n.labels.clone(),
            configured: n.configured.clone(),
            draining: n.draining,
            identity: n.identity.clone(),
            stream_key: n.stream_key.map(|key| key.to_string()),
        }
    }
}

impl StoredNode {
    fn into_model(self) -> Result<Node, String> {
        Ok(Node {
            name: name(self.name)?,
            api: self.api,
            mesh: self.mesh,
            replication: self.replication,
            labels: self.labels,
            configured: self.configured,
            draining: self.draining,
            identity: self.identity,
            stream_key: optional(self.stream_key)?,
        })
    }
}

/// An installation that an operator removed from the cluster: it must not come back by itself. Its name is free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovedNode {
    /// Which one.
    pub identity: String,
    /// What it was called.
    pub name: NodeName,
    /// When it was removed.
    pub at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct StoredRemoved {
    identity: String,
    name: String,
    at_ms: u64,
}

impl From<&RemovedNode> for StoredRemoved {
    fn from(gone: &RemovedNode) -> Self {
        let RemovedNode { identity, name, at } = gone;
        Self { identity: identity.clone(), name: name.to_string(), at_ms: at.0 }
    }
}

impl StoredRemoved {
    fn into_model(self) -> Result<RemovedNode, String> {
        let Self { identity, name: text, at_ms } = self;
        Ok(RemovedNode { identity, name: name(text)?, at: Timestamp(at_ms) })
    }
}

#[derive(Serialize, Deserialize)]
struct StoredApp {
    name: String,
    manifest: String,
    owner: Option<String>,
    epoch: u64,
    removing: bool,
    operation: Option<String>,
    placed_ms: u64,
}

impl From<&AppRecord> for StoredApp {
    fn from(a: &AppRecord) -> Self {
        Self {
            name: a.name.to_string(),
            manifest: a.manifest.clone(),
            owner: a.owner.as_ref().map(ToString::to_string),
            epoch: a.epoch.0,
            removing: a.state == AppState::Removing,
            operation: a.operation.as_ref().map(ToString::to_string),
            placed_ms: a.placed.0,
        }
    }
}

impl StoredApp {
    fn into_model(self) -> Result<AppRecord, String> {
        Ok(AppRecord {
            name: name(self.name)?,
            manifest: self.manifest,
            owner: optional(self.owner)?,
            epoch: Epoch(self.epoch),
            state: if self.removing { AppState::Removing } else { AppState::Deployed },
            operation: optional(self.operation)?,
            placed: Timestamp(self.placed_ms),
        })
    }
}

#[derive(Serialize, Deserialize)]
struct StoredOperation {
    id: String,
    app: String,
    kind: StoredKind,
    purpose: StoredPurpose,
    state: StoredState,
    phase: String,
    undoing: Option<String>,
    trouble: Option<String>,
    started_ms: u64,
    finished_ms: Option<u64>,
    parked_ms: Option<u64>,
    phases: Vec<StoredPhase>,
    rounds: Vec<StoredRound>,
    blackout_ms: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StoredKind {
    Deploy {
        target: String,
        #[serde(default)]
        tried: Vec<String>,
    },
    Update {
        node: String,
        manifest: String,
    },
    Move {
        source: String,
        target: String,
        epoch: u64,
    },
    Remove {
        node: Option<String>,
        volumes: bool,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StoredPurpose {
    Operator,
    Create,
    Drain,
    Rebalance,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StoredState {
    Running,
    Waiting { reason: String },
    Done,
    Aborted { reason: String },
    Failed { reason: String },
}

#[derive(Serialize, Deserialize)]
struct StoredPhase {
    phase: String,
    took_us: u64,
    undo: bool,
    #[serde(default)]
    trouble: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct StoredRound {
    tag: String,
    bytes: u64,
    resumed: u64,
    took_ms: u64,
}

impl From<&OperationKind> for StoredKind {
    fn from(kind: &OperationKind) -> Self {
        match kind {
            OperationKind::Deploy { target, tried } => Self::Deploy {
                target: target.to_string(),
                tried: tried.iter().map(ToString::to_string).collect(),
            },
            OperationKind::Update { node, manifest } => {
                Self::Update { node: node.to_string(), manifest: manifest.clone() }
            }
            OperationKind::Move { source, target, epoch } => Self::Move {
                source: source.to_string(),
                target: target.to_string(),
                epoch: epoch.0,
            },
            OperationKind::Remove { node, volumes } => {
                Self::Remove { node: node.as_ref().map(ToString::to_string), volumes: *volumes }
            }
        }
    }
}

impl StoredKind {
    fn into_model(self) -> Result<OperationKind, String> {
        Ok(match self {
            Self::Deploy { target, tried } => OperationKind::Deploy {
                target: name(target)?,
                tried: tried.into_iter().map(name).collect::<Result<_, _>>()?,
            },
            Self::Update { node, manifest } => {
                OperationKind::Update { node: name(node)?, manifest }
            }
            Self::Move { source, target, epoch } => OperationKind::Move {
                source: name(source)?,
                target: name(target)?,
                epoch: Epoch(epoch),
            },
            Self::Remove { node, volumes } => {
                OperationKind::Remove { node: optional(node)?, volumes }
            }
        })
    }
}

impl From<Purpose> for StoredPurpose {
    fn from(purpose: Purpose) -> Self {
        match purpose {
            Purpose::Operator => Self::Operator,
            Purpose::Create => Self::Create,
            Purpose::Drain => Self::Drain,
            Purpose::Rebalance => Self::Rebalance,
        }
    }
}

impl From<StoredPurpose> for Purpose {
    fn from(purpose: StoredPurpose) -> Self {
        match purpose {
            StoredPurpose::Operator => Self::Operator,
            StoredPurpose::Create => Self::Create,
            StoredPurpose::Drain => Self::Drain,
            StoredPurpose::Rebalance => Self::Rebalance,
        }
    }
}

impl From<&OperationState> for StoredState {
    fn from(state: &OperationState) -> Self {
        match state {
            OperationState::Running => Self::Running,
            OperationState::Waiting { reason } => Self::Waiting { reason: reason.clone() },
            OperationState::Done => Self::Done,
            OperationState::Aborted { reason } => Self::Aborted { reason: reason.clone() },
            OperationState::Failed { reason } => Self::Failed { reason: reason.clone() },
        }
    }
}

impl From<StoredState> for OperationState {
    fn from(state: StoredState) -> Self {
        match state {
            StoredState::Running => Self::Running,
            StoredState::Waiting { reason } => Self::Waiting { reason },
            StoredState::Done => Self::Done,
            StoredState::Aborted { reason } => Self::Aborted { reason },
            StoredState::Failed { reason } => Self::Failed { reason },
        }
    }
}

impl From<&Operation> for StoredOperation {
    fn from(o: &Operation) -> Self {
        let phase = |p: &PhaseReport| StoredPhase {
            phase: p.phase.to_string(),
            took_us: u64::try_from(p.took.as_micros()).unwrap_or(u64::MAX),
            undo: p.undo,
            trouble: p.trouble.clone(),
        };
        let round = |r: &Round| StoredRound {
            tag: r.tag.to_string(),
            bytes: r.transfer.bytes.0,
            resumed: r.transfer.resumed.0,
            took_ms: millis(r.transfer.took),
        };
        Self {
            id: o.id.to_string(),
            app: o.app.to_string(),
            kind: (&o.kind).into(),
            purpose: o.purpose.into(),
            state: (&o.state).into(),
            phase: o.phase.to_string(),
            undoing: o.undoing.clone(),
            trouble: o.trouble.clone(),
            started_ms: o.started.0,
            finished_ms: o.finished.map(|t| t.0),
            parked_ms: o.parked.map(|t| t.0),
            phases: o.report.phases.iter().map(phase).collect(),
            rounds: o.report.rounds.iter().map(round).collect(),
            blackout_ms: o.report.blackout.map(millis),
        }
    }
}

fn phase(text: &str) -> Result<Phase, String> {
    Phase::from_name(text).ok_or_else(|| format!("`{text}` is not a phase that this program knows"))
}

impl StoredOperation {
    fn into_model(self) -> Result<Operation, String> {
        let phases = |p: StoredPhase| {
            let took = Duration::from_micros(p.took_us);
            let (phase, undo, trouble) = (phase(&p.phase)?, p.undo, p.trouble);
            Ok::<_, String>(PhaseReport { phase, took, undo, trouble })
        };
        let rounds = |r: StoredRound| {
            let took = Duration::from_millis(r.took_ms);
            let transfer =
                Transfer { bytes: ByteSize(r.bytes), resumed: ByteSize(r.resumed), took };
            Ok::<_, String>(Round { tag: name(r.tag)?, transfer })
        };
        Ok(Operation {
            id: name(self.id)?,
            app: name(self.app)?,
            kind: self.kind.into_model()?,
            purpose: self.purpose.into(),
            state: self.state.into(),
            phase: phase(&self.phase)?,
            undoing: self.undoing,
            trouble: self.trouble,
            started: Timestamp(self.started_ms),
            finished: self.finished_ms.map(Timestamp),
            parked: self.parked_ms.map(Timestamp),
            report: MoveReport {
                phases: self.phases.into_iter().map(phases).collect::<Result<_, _>>()?,
                rounds: self.rounds.into_iter().map(rounds).collect::<Result<_, _>>()?,
                blackout: self.blackout_ms.map(Duration::from_millis),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the first release wrote it.
    const NODE: &str = r#"{"v":1,"name":"n1","api":"10.0.0.1:4521","mesh":"10.0.0.1:4522",
        "replication":"10.0.0.1:4523","labels":{},"draining":false,"identity":"one""#;

    #[test]
    fn a_node_that_is_older_than_stream_keys_has_none() {
        let read = |more: &str| Node::from_bytes("node/n1", format!("{NODE}{more}}}").as_bytes());
        let key = "07".repeat(32);

        let older = read("").unwrap();
        let newer = read(&format!(r#","stream_key":"{key}""#)).unwrap();
        let damaged = read(r#","stream_key":"07""#).unwrap_err();

        assert_eq!((older.stream_key, newer.stream_key), (None, Some(key.parse().unwrap())));
        for node in [older, newer] {
            assert_eq!(Node::from_bytes("node/n1", &node.to_bytes().unwrap()), Ok(node));
        }
        assert!(damaged.reason.contains("stream key"), "{damaged}");
    }
}
