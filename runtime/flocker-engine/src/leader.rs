//! The leader: watches the nodes, plans, and drives operations. One at a time in a cluster; what it knows is in the
//! store, so the next one goes on where it ended.

mod commit;
mod deploying;
mod moving;
mod nodes;
mod removing;
mod replicas;
mod runner;
mod silence;
mod snapshots;
pub(crate) mod upkeep;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use flocker_model::{
    AppName, Epoch, Node, NodeName, Operation, OperationId, OperationKind, OperationState, Purpose,
    Revision, Snapshot, Timestamp, VolumeId,
};
use flocker_planner::{
    Decision, Policies,
    plan::{Action, Note, Plan, Settings, World, plan},
};
use flocker_ports::{Clock, Order, Peer, PeerError, PeerErrorKind, Reply, Step};
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    cluster::{Cluster, ClusterError, State, Versioned},
    follower::Followed,
};

pub use nodes::{ALIVE, Seen};

/// Everything is planned anew this often, also when nothing is known to have changed.
const ROUND: Duration = Duration::from_millis(500);

/// Gives access to nodes' agents.
pub trait Peers: Send + Sync + fmt::Debug {
    /// The agent of a node.
    fn peer(&self, node: &Node) -> Arc<dyn Peer>;
}

/// What a leader works with.
#[derive(Debug, Clone)]
pub struct LeaderParts {
    /// The cluster's records.
    pub cluster: Cluster,
    /// The same, followed.
    pub followed: Followed,
    /// The nodes' agents.
    pub peers: Arc<dyn Peers>,
    /// Asked for every decision of policy.
    pub policies: Arc<dyn Policies>,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// Limits.
    pub settings: Settings,
    /// How often policies are asked about apps that are well where they are.
    pub rebalance_every: Duration,
}

/// What the names of snapshots begin with that the leader takes and removes by itself: no operator's may.
pub(crate) const OWN_SNAPSHOTS: [&str; 3] =
    [moving::PREFIX, snapshots::PREFIX, flocker_planner::replicas::PREFIX];

/// The leader. A cheap handle.
#[derive(Debug, Clone)]
pub struct Leader {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) parts: LeaderParts,
    pub(crate) nodes: nodes::Nodes,
    driven: Mutex<BTreeSet<OperationId>>,
    /// Which nodes are given orders about which apps, beside any operation.
    occupied: Mutex<BTreeSet<(NodeName, AppName)>>,
    /// Operators' changes are thought over one after the other.
    pub(crate) asked: tokio::sync::Mutex<()>,
    notes: Mutex<Vec<Note>>,
    /// Volumes of which no snapshots are taken by schedule, and why.
    full: Mutex<BTreeMap<VolumeId, String>>,
    wake: Notify,
}

impl Leader {
    /// A leader that does nothing yet; see [`Leader::lead`].
    #[must_use]
    pub fn new(parts: LeaderParts) -> Self {
        let inner = Inner {
            parts,
            nodes: nodes::Nodes::default(),
            driven: Mutex::default(),
            occupied: Mutex::default(),
            asked: tokio::sync::Mutex::default(),
            notes: Mutex::default(),
            full: Mutex::default(),
            wake: Notify::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Leads until cancelled. Operations that were under way are left as they are; the next leader goes on with them.
    pub async fn lead(&self, stop: CancellationToken) {
        let mut followed = self.inner.parts.followed.clone();
        let mut rebalanced = Instant::now();
        let tasks = tokio_util::task::TaskTracker::new();
        tasks.spawn(self.clone().watch_nodes(stop.clone()));
        tasks.spawn(self.clone().keep_snapshots(stop.clone()));
        tasks.spawn(self.clone().watch_silence(stop.clone()));
        tasks.spawn(self.clone().keep_replicas(stop.clone()));
        loop {
            let state = followed.borrow_and_update().clone();
            if let Some(state) = state {
                self.drive_unfinished(&state, &stop, &tasks);
                let rebalance = rebalanced.elapsed() >= self.inner.parts.rebalance_every;
                if rebalance {
                    rebalanced = Instant::now();
                }
                self.plan_and_begin(&state, rebalance, &stop, &tasks).await;
            }
            tokio::select! {
                () = stop.cancelled() => break,
                _ = followed.changed() => {}
                () = self.inner.wake.notified() => {}
                () = tokio::time::sleep(ROUND) => {}
            }
        }
        tasks.close();
        tasks.wait().await;
    }

    /// Plans at once instead of at the next round.
    pub fn wake(&self) {
        self.inner.wake.notify_one();
    }

    /// What the last plan did not do, and why.
    #[must_use]
    pub fn notes(&self) -> Vec<Note> {
        self.inner.notes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Every operation that has not ended is driven by one task.
    fn drive_unfinished(
        &self,
        state: &State,
        stop: &CancellationToken,
        tasks: &tokio_util::task::TaskTracker,
    ) {
        for operation in state.operations.values().filter(|o| !o.state.is_final()) {
            let id = operation.id.clone();
            if !self.inner.driven.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone())
            {
                continue;
            }
            let leader = self.clone();
            let stop = stop.clone();
            tasks.spawn(async move {
                tokio::select! {
                    // Whoever is told to end takes no further step first.
                    biased;
                    () = stop.cancelled() => {}
                    () = runner::drive(&leader, &id) => {}
                }
                leader.inner.driven.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
                leader.wake();
            });
        }
    }

    async fn plan_and_begin(
        &self,
        state: &Arc<State>,
        rebalance: bool,
        stop: &CancellationToken,
        tasks: &tokio_util::task::TaskTracker,
    ) {
        if !self.inner.nodes.all_heard(state) {
            return;
        }
        let world = self.world(state);
        let (settings, policies) =
            (self.inner.parts.settings.clone(), self.inner.parts.policies.clone());
        // Policies are sandboxed programs that may use their whole budget of time: not on the async threads.
        let planned = tokio::task::spawn_blocking(move || {
            plan(&world, &settings, rebalance, &*policies, &mut draw)
        });
        let Ok(Plan { actions, notes }) = planned.await else { return };
        *self.inner.notes.lock().unwrap_or_else(PoisonError::into_inner) = notes;
        for action in actions {
            self.carry_out(state, action, stop, tasks).await;
        }
    }

    async fn carry_out(
        &self,
        state: &State,
        action: Action,
        stop: &CancellationToken,
        tasks: &tokio_util::task::TaskTracker,
    ) {
        match action {
            Action::Begin { id, app, kind, purpose, decision } => {
                if let Err(error) =
                    self.begin(state, id, &app, kind, purpose, Some(&decision)).await
                    && !error.is_conflict()
                {
                    tracing::warn!(%app, %error, "an operation could not be begun");
                }
            }
            upkeep @ (Action::Discard { .. }
            | Action::Retire { .. }
            | Action::Start { .. }
            | Action::Clear { .. }
            | Action::Forget { .. }) => self.look_after(state, upkeep, stop, tasks).await,
        }
    }

    /// Writes an operation down, with the decision that led to it; it is driven from then on. The app must not be held
    /// by another one.
    pub(crate) async fn begin(
        &self,
        state: &State,
        id: OperationId,
        app: &AppName,
        kind: OperationKind,
        purpose: Purpose,
        decision: Option<&Decision>,
    ) -> Result<(), ClusterError> {
        let Some(Versioned { value: record, revision }) = state.apps.get(app) else {
            return Ok(());
        };
        let mut record = record.clone();
        if let Some(holder) = &record.operation {
            let key = format!("app/{app}");
            tracing::debug!(%app, %holder, "the app is held by an operation already");
            return Err(flocker_ports::StoreError::Conflict { key }.into());
        }
        record.operation = Some(id.clone());
        let operation = self.new_operation(&id, app, kind, purpose);
        let mut changes =
            self.inner.parts.cluster.change().replace(*revision, &record).create(&operation);
        if let Some(decision) = decision {
            changes = changes.decision(&id, crate::explain::document(decision));
        }
        for old in superfluous(state) {
            changes = changes
                .forget(format!("operation/{old}"))
                .forget(format!("{}{old}", crate::cluster::DECISIONS));
        }
        self.inner.parts.cluster.commit(changes).await?;
        tracing::info!(operation = %id, %app, %purpose, kind = ?operation.kind, "an operation begins");
        Ok(())
    }

    /// An operation that has not begun.
    pub(crate) fn new_operation(
        &self,
        id: &OperationId,
        app: &AppName,
        kind: OperationKind,
        purpose: Purpose,
    ) -> Operation {
        Operation {
            id: id.clone(),
            app: app.clone(),
            kind,
            purpose,
            state: OperationState::Running,
            phase: flocker_model::Phase::Planned,
            undoing: None,
            trouble: None,
            started: self.inner.parts.clock.now(),
            finished: None,
            parked: None,
            report: flocker_model::MoveReport::default(),
        }
    }

    /// Gives an order to a node.
    pub(crate) async fn tell(&self, node: &NodeName, order: Order) -> Result<Reply, PeerError> {
        let state = self.inner.parts.followed.borrow().clone();
        match state.as_ref().and_then(|s| s.nodes.get(node)) {
            Some(record) => {
                let peer = self.inner.parts.peers.peer(&record.value);
                // An order may take hours; a node that meanwhile says nothing of itself hangs.
                tokio::select! {
                    reply = peer.perform(order) => reply,
                    () = self.inner.nodes.silent(node) => Err(PeerError {
                        node: node.clone(),
                        kind: PeerErrorKind::Unreachable,
                        message: "it stopped answering".to_owned(),
                    }),
                }
            }
            None => Err(PeerError {
                node: node.clone(),
                kind: PeerErrorKind::Refused,
                message: "it does not belong to the cluster any more".to_owned(),
            }),
        }
    }

    /// What is known, for the planner.
    pub(crate) fn world(&self, state: &State) -> World {
        let unfinished = |(id, o): (&OperationId, &Operation)| {
            (!o.state.is_final()).then(|| (id.clone(), o.clone()))
        };
        World {
            now: self.inner.parts.clock.now(),
            revision: state.revision,
            nodes: self.inner.nodes.seen_by_planner(state),
            apps: state
                .apps
                .iter()
                .filter_map(|(name, a)| {
                    Some((name.clone(), (a.value.clone(), (**state.manifests.get(name)?).clone())))
                })
                .collect(),
            changed: state.apps.iter().map(|(name, a)| (name.clone(), a.revision)).collect(),
            volumes: state.volumes.values().map(|v| v.value.clone()).collect(),
            snapshots: BTreeMap::new(),
            leftovers: state.leftovers.values().cloned().collect(),
            operations: state.operations.iter().filter_map(unfinished).collect(),
            setbacks: setbacks(state),
        }
    }

    /// An order for an operation, as it follows from the records at `revision`.
    pub(crate) fn order(
        operation: &OperationId,
        app: &AppName,
        epoch: Epoch,
        revision: Revision,
        step: Step,
    ) -> Order {
        Order { operation: operation.clone(), app: app.clone(), epoch, revision, step }
    }
}

/// Ended operations that are kept, for people who ask what happened.
const OPERATIONS_KEPT: usize = 500;

/// The apps whose last move was undone: when, and why.
fn setbacks(state: &State) -> BTreeMap<AppName, (Timestamp, String)> {
    let mut setbacks = BTreeMap::new();
    // Ids made later sort later, so the last word on an app counts.
    for operation in state.operations.values() {
        match (&operation.kind, &operation.state, operation.finished) {
            (OperationKind::Move { .. }, OperationState::Aborted { reason }, Some(at)) => {
                setbacks.insert(operation.app.clone(), (at, reason.clone()));
            }
            (_, state, _) if state.is_final() => drop(setbacks.remove(&operation.app)),
            _ => {}
        }
    }
    setbacks
}

fn superfluous(state: &State) -> Vec<OperationId> {
    let ended: Vec<_> =
        state.operations.values().filter(|o| o.state.is_final()).map(|o| o.id.clone()).collect();
    // Ids made later sort later.
    let surplus = ended.len().saturating_sub(OPERATIONS_KEPT);
    ended.into_iter().take(surplus).collect()
}

/// A new id and a seed for its decision, drawn from the id: whoever knows the id can repeat the decision.
pub(crate) fn draw() -> (OperationId, u64) {
    let name = OperationId::new(uuid::Uuid::now_v7().to_string());
    #[expect(
        clippy::expect_used,
        reason = "a UUID consists of digits, letters from a to f and dashes"
    )]
    let name = name.expect("a UUID is a valid operation id");
    let seed = seed_of(&name);
    (name, seed)
}

/// The seed of an operation's decision: the random half of its id.
fn seed_of(id: &OperationId) -> u64 {
    let id = uuid::Uuid::parse_str(id.as_str()).unwrap_or_default();
    u64::from_be_bytes(id.as_bytes()[8..].try_into().unwrap_or_default())
}

/// The snapshots that a node answered with, or whatever else it answered.
pub(crate) fn snapshots_in(reply: Reply) -> Result<Vec<Snapshot>, Reply> {
    match reply {
        Reply::Snapshots(snapshots) => Ok(snapshots),
        Reply::Done | Reply::Sent(_) => Err(reply),
    }
}
