//! A node's agent: does what it is told, keeps what it was told running, and says what it sees.
//!
//! It never decides where something belongs, and needs nobody to go on: what it was told is in its journal.

mod containers;
mod health;
mod journal;
mod observe;
mod replicate;
mod steps;
mod supervise;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use flocker_model::{AppName, ContainerName, NodeName, NodeStats, OperationId};
use flocker_ports::{
    Backend, BackendError, Clock, Engine, EngineError, LogStream, Observation, Order, Peer,
    PeerError, PeerErrorKind, Progress, ReplicaSeen, Replication, ReplicationError, Reply, Routes,
};

pub use journal::{Assignment, Journal, JournalError, Mode};

use health::Healths;
use supervise::Pasts;
use tokio_util::sync::CancellationToken;

/// What an agent works with.
#[derive(Debug, Clone)]
pub struct AgentParts {
    /// The node.
    pub node: NodeName,
    /// Its storage.
    pub backend: Arc<dyn Backend>,
    /// Its container engine.
    pub engine: Arc<dyn Engine>,
    /// Sends to other nodes.
    pub replication: Arc<dyn Replication>,
    /// Its proxy.
    pub routes: Arc<dyn Routes>,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// Memory, CPUs and load of the machine.
    pub machine: Arc<dyn Machine>,
}

/// The machine that a node is.
pub trait Machine: Send + Sync + std::fmt::Debug {
    /// Memory, CPUs and load; the pool is the backend's.
    fn stats(&self) -> NodeStats;
}

/// A node's agent. A cheap handle.
#[derive(Debug, Clone)]
pub struct Agent {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    parts: AgentParts,
    journal: Mutex<Journal>,
    /// What the journal says, to be read also while the journal waits for the disk.
    assigned: Mutex<Arc<BTreeMap<AppName, Assignment>>>,
    /// One step or restart at a time per app; apps never wait for each other.
    apps: Mutex<BTreeMap<AppName, Arc<tokio::sync::Mutex<()>>>>,
    sending: Mutex<BTreeMap<OperationId, Progress>>,
    replicas: Mutex<Vec<ReplicaSeen>>,
    healths: Healths,
    pasts: Pasts,
    supervisor: tokio::sync::Notify,
    halted: CancellationToken,
}

impl Agent {
    /// An agent that continues where its journal ends.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn open(parts: AgentParts, journal: &Path) -> Result<Self, JournalError> {
        let journal = Journal::open(journal)?;
        let inner = Inner {
            parts,
            assigned: Mutex::new(Arc::new(journal.assignments().clone())),
            journal: Mutex::new(journal),
            apps: Mutex::default(),
            sending: Mutex::default(),
            replicas: Mutex::default(),
            healths: Healths::default(),
            pasts: Pasts::default(),
            supervisor: tokio::sync::Notify::new(),
            halted: CancellationToken::new(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    fn lock_of(&self, app: &AppName) -> Arc<tokio::sync::Mutex<()>> {
        let mut apps = self.inner.apps.lock().unwrap_or_else(PoisonError::into_inner);
        // A lock that nobody holds or waits for is as good as none.
        apps.retain(|_, lock| Arc::strong_count(lock) > 1);
        apps.entry(app.clone()).or_default().clone()
    }

    fn assignment(&self, app: &AppName) -> Option<Assignment> {
        self.assignments().get(app).cloned()
    }

    fn assignments(&self) -> Arc<BTreeMap<AppName, Assignment>> {
        self.inner.assigned.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Drops whatever is under way where it stands, as a crash would.
    pub fn halt(&self) {
        self.inner.halted.cancel();
    }

    /// Runs a change of the journal where it may wait for the disk.
    async fn with_journal(
        &self,
        change: impl FnOnce(&mut Journal) -> Result<(), JournalError> + Send + 'static,
    ) -> Result<(), StepError> {
        let inner = self.inner.clone();
        let done = tokio::task::spawn_blocking(move || {
            let mut journal = inner.journal.lock().unwrap_or_else(PoisonError::into_inner);
            let changed = change(&mut journal);
            let assigned = Arc::new(journal.assignments().clone());
            *inner.assigned.lock().unwrap_or_else(PoisonError::into_inner) = assigned;
            changed
        });
        match done.await {
            Ok(result) => Ok(result?),
            Err(_) => Err(StepError::Later("the journal's thread ended early".to_owned())),
        }
    }
}

/// Why a step was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StepError {
    /// It came under an epoch that is over.
    #[error("app `{app}` is at epoch {current} here, the order came under epoch {asked}")]
    StaleEpoch { app: AppName, current: flocker_model::Epoch, asked: flocker_model::Epoch },
    /// It was overtaken by a later one.
    #[error(
        "app `{app}` was told something newer here (revision {current}), the order is of revision {asked}"
    )]
    StaleOrder { app: AppName, current: flocker_model::Revision, asked: flocker_model::Revision },
    /// The storage said so.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The container engine said so.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The other node, or the way to it.
    #[error(transparent)]
    Replication(#[from] ReplicationError),
    /// The node's own journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// It cannot be done now.
    #[error("{0}")]
    Later(String),
    /// It cannot be done at all.
    #[error("{0}")]
    Never(String),
}

impl StepError {
    fn kind(&self) -> PeerErrorKind {
        match self {
            Self::StaleEpoch { .. } | Self::StaleOrder { .. } | Self::Never(_) => {
                PeerErrorKind::Refused
            }
            Self::Later(_) | Self::Journal(_) => PeerErrorKind::Retry,
            Self::Backend(e) => backend_kind(e),
            Self::Engine(e) => engine_kind(e),
            Self::Replication(ReplicationError::Source(e)) => backend_kind(e),
            Self::Replication(ReplicationError::Unreachable { .. }) => PeerErrorKind::Retry,
            Self::Replication(
                ReplicationError::Refused { .. } | ReplicationError::Untrusted { .. },
            ) => PeerErrorKind::Refused,
        }
    }
}

fn backend_kind(error: &BackendError) -> PeerErrorKind {
    match error {
        BackendError::NoSuchVolume(_)
        | BackendError::NoSuchSnapshot { .. }
        | BackendError::StaleEpoch { .. }
        | BackendError::WrongRole { .. }
        | BackendError::Diverged { .. }
        | BackendError::PoolFull { .. }
        | BackendError::Unsupported { .. }
        | BackendError::CorruptStream { .. } => PeerErrorKind::Refused,
        BackendError::Busy { .. }
        | BackendError::CannotResume { .. }
        | BackendError::Failed { .. } => PeerErrorKind::Retry,
    }
}

fn engine_kind(error: &EngineError) -> PeerErrorKind {
    match error {
        EngineError::NoImage { .. } | EngineError::GateRefused { .. } => PeerErrorKind::Refused,
        EngineError::Unreachable { .. }
        | EngineError::NoSuchContainer(_)
        | EngineError::Conflict { .. }
        | EngineError::Timeout { .. }
        | EngineError::Failed { .. } => PeerErrorKind::Retry,
    }
}

#[async_trait]
impl Peer for Agent {
    async fn perform(&self, order: Order) -> Result<Reply, PeerError> {
        let said = (order.operation.clone(), order.app.clone());
        self.step(order).await.map_err(|error| {
            tracing::warn!(operation = %said.0, app = %said.1, %error, "an order was not carried out");
            self.peer_error(&error)
        })
    }

    async fn observe(&self) -> Result<Observation, PeerError> {
        Ok(self.look().await)
    }

    async fn logs(
        &self,
        app: &AppName,
        container: Option<&ContainerName>,
        follow: bool,
        tail: Option<u32>,
    ) -> Result<LogStream, PeerError> {
        self.read_logs(app, container, follow, tail).await.map_err(|error| self.peer_error(&error))
    }
}

impl Agent {
    fn peer_error(&self, error: &StepError) -> PeerError {
        let node = self.inner.parts.node.clone();
        PeerError { node, kind: error.kind(), message: error.to_string() }
    }
}
