//! Drives one operation from phase to phase: writes down which phase it enters, runs or undoes it, and asks the state
//! table of the planner what comes next.

use std::{collections::BTreeMap, time::Duration};

use flocker_model::{
    App, AppRecord, Epoch, Left, Leftover, NodeName, Operation, OperationId, OperationKind,
    OperationState, Phase, PhaseReport, Point, Timestamp, VolumeId,
};
use flocker_planner::phases::{self, ASKED_TO_ABORT, Next, Outcome, PARK_BUDGET, PATIENCE};
use flocker_ports::{ContainerState, PeerError, PeerErrorKind, Reply, Step};
use tokio::time::Instant;

use super::{Leader, deploying, moving, removing, upkeep};
use crate::cluster::{Cluster, ClusterError, Versioned};

/// The pause before something is tried again: short while clients wait, longer while nobody does.
const PAUSE_PARKED: Duration = Duration::from_millis(50);
const PAUSE: Duration = Duration::from_secs(1);

/// Proxies that do not confirm a table in this time are left behind: the owner's own check of the epoch covers them.
const PROXY_PATIENCE: Duration = Duration::from_secs(1);

/// One operation, being driven.
pub(super) struct Runner<'a> {
    pub(super) leader: &'a Leader,
    /// The operation as it is written down.
    pub(super) operation: Versioned<Operation>,
    /// The snapshot of each volume that the target of a move confirmed last, as far as this leader saw it.
    pub(super) confirmed: BTreeMap<VolumeId, Point>,
    /// Since when the present phase has been failing.
    failing: Option<Timestamp>,
    /// When the present phase was tried first.
    began: Instant,
    /// What the present phase left for later.
    pub(super) left: Vec<String>,
}

/// Why a phase did not end well.
#[derive(Debug)]
pub(super) enum Trouble {
    /// A node said so.
    Peer(PeerError),
    /// The records.
    Cluster(ClusterError),
    /// It is not possible.
    Refused(String),
    /// It is not possible now.
    Later(String),
}

impl From<PeerError> for Trouble {
    fn from(error: PeerError) -> Self {
        Self::Peer(error)
    }
}

impl From<ClusterError> for Trouble {
    fn from(error: ClusterError) -> Self {
        Self::Cluster(error)
    }
}

/// Drives the operation to its end.
pub(super) async fn drive(leader: &Leader, id: &OperationId) {
    let Some(operation) = read(&leader.inner.parts.cluster, id).await else { return };
    let mut runner = Runner {
        leader,
        operation,
        confirmed: BTreeMap::new(),
        failing: None,
        began: Instant::now(),
        left: vec![],
    };
    let mut next = phases::resume(&runner.operation.value, runner.now());
    loop {
        if runner.operation.value.state.is_final() {
            return;
        }
        let result = match next.clone() {
            Next::Run(phase) => runner.enter(phase, false).await,
            Next::Undo(phase) => runner.enter(phase, true).await,
            Next::RunDespite { trouble } => runner.go_on_despite(trouble).await,
            Next::TurnBack { reason } => runner.turn_back(reason).await,
            Next::Again { reason } => runner.wait(reason).await,
            Next::Finish(state) => runner.finish(state).await,
        };
        next = match result {
            Ok(next) => next,
            // The record was changed beside us: an operator asked to abort. Any other failure of the store passes.
            Err(error) => {
                if !error.is_conflict() {
                    tracing::warn!(operation = %id, %error, "the operation cannot be written down at the moment");
                    tokio::time::sleep(PAUSE).await;
                }
                let Some(operation) = read(&leader.inner.parts.cluster, id).await else { return };
                runner.operation = operation;
                phases::resume(&runner.operation.value, runner.now())
            }
        };
    }
}

/// Reads the operation, as often as it takes. `None`: it does not exist, or cannot be read.
async fn read(cluster: &Cluster, id: &OperationId) -> Option<Versioned<Operation>> {
    loop {
        match cluster.get::<Operation>(id.as_str()).await {
            Ok(found) => return found,
            Err(ClusterError::Record(error)) => {
                tracing::error!(operation = %id, %error, "the operation cannot be driven");
                return None;
            }
            Err(ClusterError::Store(_)) => tokio::time::sleep(PAUSE).await,
        }
    }
}

impl Runner<'_> {
    pub(super) fn now(&self) -> Timestamp {
        self.leader.inner.parts.clock.now()
    }

    pub(super) fn op(&self) -> &Operation {
        &self.operation.value
    }

    /// Writes the operation down as it is in memory.
    pub(super) async fn save(&mut self) -> Result<(), ClusterError> {
        let changes = self.leader.inner.parts.cluster.change();
        let changes = changes.replace(self.operation.revision, &self.operation.value);
        self.operation.revision = self.leader.inner.parts.cluster.commit(changes).await?;
        Ok(())
    }

    /// Enters a phase, runs or undoes it, and says what comes next.
    async fn enter(&mut self, phase: Phase, undo: bool) -> Result<Next, ClusterError> {
        // While clients wait it is tried so often that saying each time that it runs again would only be noise.
        let running = self.operation.value.state == OperationState::Running
            || (self.failing.is_some() && phases::parks(self.op()));
        if self.operation.value.phase != phase || !running {
            let now = self.now();
            let operation = &mut self.operation.value;
            operation.phase = phase;
            operation.state = OperationState::Running;
            if phase == Phase::Park && !undo {
                operation.parked.get_or_insert(now);
            }
            self.save().await?;
        }
        if self.failing.is_none() {
            self.began = Instant::now();
        }
        self.left.clear();
        let outcome = match self.attempt(phase, undo).await {
            Err(Trouble::Cluster(error)) => return Err(error),
            Ok(()) => Ok(()),
            Err(trouble) => Err(trouble),
        };
        if outcome.is_ok() {
            let trouble = (!self.left.is_empty()).then(|| self.left.join("; "));
            self.report(phase, undo, trouble);
            // A commit has written the next phase down already.
            if self.operation.value.phase != phase {
                self.failing = None;
                return Ok(Next::Run(self.operation.value.phase));
            }
        }
        let outcome = self.weigh(outcome);
        Ok(phases::after(&self.operation.value, outcome, self.now()))
    }

    /// Runs the phase, or lets go of it when its time is over or an operator asks to abort.
    async fn attempt(&mut self, phase: Phase, undo: bool) -> Result<(), Trouble> {
        let budget = match self.op().parked {
            Some(since) if !undo && !phases::past_return(&self.op().kind, phase) => {
                PARK_BUDGET.saturating_sub(self.now().since(since))
            }
            Some(_) | None => Duration::MAX,
        };
        let aborted =
            asked_to_abort(self.leader.inner.parts.followed.clone(), self.op().id.clone());
        let abortable = !undo && phases::can_abort(self.op());
        let work = async {
            match (&self.operation.value.kind, undo) {
                (OperationKind::Move { .. }, false) => moving::run(self, phase).await,
                (OperationKind::Move { .. }, true) => moving::undo(self, phase).await,
                (OperationKind::Deploy { .. } | OperationKind::Update { .. }, false) => {
                    deploying::run(self, phase).await
                }
                (OperationKind::Deploy { .. } | OperationKind::Update { .. }, true) => {
                    deploying::undo(self, phase).await
                }
                (OperationKind::Remove { .. }, false) => removing::run(self, phase).await,
                (OperationKind::Remove { .. }, true) => Ok(()),
            }
        };
        tokio::select! {
            done = work => done,
            () = tokio::time::sleep(budget.min(Duration::from_secs(86_400 * 30))) => {
                Err(Trouble::Later(self.overdue(phase).await))
            }
            () = aborted, if abortable => Err(Trouble::Later(ASKED_TO_ABORT.to_owned())),
        }
    }

    /// Notes how a phase ended.
    fn report(&mut self, phase: Phase, undo: bool, trouble: Option<String>) {
        let took = self.began.elapsed();
        tracing::debug!(operation = %self.op().id, %phase, undo, ?took, ?trouble, "phase ended");
        self.operation.value.report.phases.push(PhaseReport { phase, took, undo, trouble });
    }

    /// Why a phase did not end while clients could be held.
    async fn overdue(&self, phase: Phase) -> String {
        let late = format!("{phase} did not end in time");
        let (Phase::Stop, Some(node)) = (phase, self.owner_before()) else { return late };
        let Some(observation) = self.leader.look_at(&node).await else { return late };
        let apps = observation.apps.into_iter().flatten();
        let mine = apps.filter(|a| a.app == self.op().app).flat_map(|a| a.containers);
        let running: Vec<_> = mine
            .filter(|c| matches!(c.state, ContainerState::Running { .. }))
            .map(|c| format!("`{}`", c.name))
            .collect();
        match running.is_empty() {
            true => late,
            false => format!(
                "{late}: not ended on node `{node}`: {}\nhint: a shorter `stop_grace_period` lets a container be killed while clients can still be held ({} s)",
                running.join(", "),
                PARK_BUDGET.as_secs()
            ),
        }
    }

    /// The node on which the operation stops the app.
    fn owner_before(&self) -> Option<NodeName> {
        match &self.op().kind {
            OperationKind::Move { source, .. } => Some(source.clone()),
            OperationKind::Update { node, .. } => Some(node.clone()),
            OperationKind::Remove { node, .. } => node.clone(),
            OperationKind::Deploy { .. } => None,
        }
    }

    fn weigh(&mut self, result: Result<(), Trouble>) -> Outcome {
        let reason = match result {
            Ok(()) => {
                self.failing = None;
                return Outcome::Done;
            }
            Err(Trouble::Refused(reason)) => return self.refused(reason),
            Err(Trouble::Peer(e)) if e.kind == PeerErrorKind::Refused => {
                return self.refused(e.to_string());
            }
            Err(Trouble::Peer(e)) => e.to_string(),
            Err(Trouble::Later(reason)) => reason,
            Err(Trouble::Cluster(e)) => e.to_string(),
        };
        let since = *self.failing.get_or_insert(self.leader.inner.parts.clock.now());
        Outcome::Retry { reason, since }
    }

    fn refused(&mut self, reason: String) -> Outcome {
        // Where there is no way back it is tried again like anything else.
        self.failing.get_or_insert(self.leader.inner.parts.clock.now());
        Outcome::Refused { reason }
    }

    async fn wait(&mut self, reason: String) -> Result<Next, ClusterError> {
        let waiting = OperationState::Waiting { reason };
        if self.operation.value.state != waiting {
            tracing::warn!(operation = %self.op().id, phase = %self.op().phase, state = ?waiting, "waiting");
            self.operation.value.state = waiting;
            self.save().await?;
        }
        let since = self.failing.map_or(Duration::ZERO, |since| self.now().since(since));
        let hurry = phases::parks(self.op()) && since < PARK_BUDGET;
        tokio::time::sleep(if hurry { PAUSE_PARKED } else { PAUSE }).await;
        let phase = self.op().phase;
        Ok(if self.op().undoing.is_some() { Next::Undo(phase) } else { Next::Run(phase) })
    }

    async fn go_on_despite(&mut self, trouble: String) -> Result<Next, ClusterError> {
        tracing::error!(operation = %self.op().id, trouble, "the app is not ready at its place");
        self.report(self.op().phase, false, Some(trouble.clone()));
        self.operation.value.trouble = Some(trouble);
        self.failing = None;
        self.save().await?;
        Ok(phases::following(self.op()))
    }

    async fn turn_back(&mut self, reason: String) -> Result<Next, ClusterError> {
        tracing::warn!(operation = %self.op().id, phase = %self.op().phase, reason, "going back");
        // If the commit has happened after all, the record has changed, this is a conflict, and it goes forward.
        self.report(self.op().phase, false, Some(reason.clone()));
        self.operation.value.undoing = Some(reason);
        self.failing = None;
        self.save().await?;
        Ok(Next::Undo(self.op().phase))
    }

    async fn finish(&mut self, mut state: OperationState) -> Result<Next, ClusterError> {
        if let OperationState::Aborted { reason } = &mut state {
            if let Some(next) = deploying::elsewhere(self, reason).await? {
                return Ok(next);
            }
            *reason = deploying::reasons(self.op(), reason);
        }
        let mut operation = self.operation.value.clone();
        operation.state = state.clone();
        operation.finished = Some(self.now());
        let mut changes =
            self.leader.inner.parts.cluster.change().replace(self.operation.revision, &operation);
        changes = self.release(changes, &operation).await?;
        self.operation.revision = self.leader.inner.parts.cluster.commit(changes).await?;
        self.operation.value = operation;
        self.leader.inner.nodes.ask_now();
        tracing::info!(operation = %self.op().id, app = %self.op().app, state = ?state, "an operation ended");
        Ok(Next::Finish(state))
    }

    /// The app's record.
    pub(super) async fn record(&self) -> Result<Versioned<AppRecord>, Trouble> {
        let found =
            self.leader.inner.parts.cluster.get::<AppRecord>(self.op().app.as_str()).await?;
        found.ok_or_else(|| {
            Trouble::Refused(format!("app `{}` does not exist any more", self.op().app))
        })
    }

    /// The app's record and manifest.
    pub(super) async fn app(&self) -> Result<(Versioned<AppRecord>, App), Trouble> {
        let record = self.record().await?;
        let app = crate::cluster::read_manifest(&record.value).map_err(Trouble::Refused)?;
        Ok((record, app))
    }

    /// Tells a node to do something for this operation.
    pub(super) async fn tell(
        &self,
        node: &NodeName,
        epoch: Epoch,
        step: Step,
    ) -> Result<Reply, Trouble> {
        let revision = self.operation.revision;
        let order = Leader::order(&self.op().id, &self.op().app, epoch, revision, step);
        Ok(self.leader.tell(node, order).await?)
    }

    /// Tells a node to remove something for good. One that is away is not even asked.
    pub(super) async fn remove(&self, node: &NodeName, what: &Left) -> Result<(), Trouble> {
        if !self.leader.inner.nodes.alive(node) {
            let message = "it does not answer".to_owned();
            return Err(PeerError {
                node: node.clone(),
                kind: PeerErrorKind::Unreachable,
                message,
            }
            .into());
        }
        let (app, epoch, step) = upkeep::removal(what);
        let order = Leader::order(&self.op().id, &app, epoch, self.operation.revision, step);
        Ok(self.leader.tell(node, order).await.map(drop)?)
    }

    /// Writes down that a node still has something that no record will name.
    pub(super) async fn leave(
        &mut self,
        node: &NodeName,
        what: Left,
        reason: &str,
    ) -> Result<(), Trouble> {
        let said = format!("{what} on node `{node}` stays until that can be removed: {reason}");
        tracing::warn!(operation = %self.op().id, "{said}");
        self.left.push(said);
        let changes = self.leader.inner.parts.cluster.change();
        let leftover = Leftover { node: node.clone(), what };
        self.leader.inner.parts.cluster.commit(changes.put(&leftover)).await?;
        Ok(())
    }

    /// Whether a node that did not do something may still do it soon.
    pub(super) fn is_worth_waiting_for(&self, node: &NodeName) -> bool {
        let patient = self.failing.is_none_or(|since| self.now().since(since) < PATIENCE);
        patient && self.leader.inner.nodes.alive(node)
    }

    /// Tells a node to tidy up. One that does not answer is passed over: what it still has is found and removed later.
    pub(super) async fn tell_if_there(
        &self,
        node: &NodeName,
        epoch: Epoch,
        step: Step,
    ) -> Result<(), Trouble> {
        match self.tell(node, epoch, step).await {
            Ok(_) => Ok(()),
            Err(Trouble::Peer(error)) => {
                tracing::warn!(operation = %self.op().id, %error, "could not tidy up; it will be done later");
                Ok(())
            }
            Err(other) => Err(other),
        }
    }

    /// The nodes that answer.
    fn answering(&self) -> Vec<NodeName> {
        let state = self.leader.inner.parts.followed.borrow().clone();
        let nodes = state.iter().flat_map(|s| s.nodes.keys());
        nodes.filter(|n| self.leader.inner.nodes.alive(n)).cloned().collect()
    }

    /// Waits until every node's proxy follows the table that the operation's last change made.
    pub(super) async fn await_routes(&self) -> Result<(), Trouble> {
        let revision = self.operation.revision;
        let ask = |node: NodeName| async move {
            let asked = self.tell(&node, Epoch(u64::MAX), Step::AwaitRoutes { revision });
            if !matches!(tokio::time::timeout(PROXY_PATIENCE, asked).await, Ok(Ok(_))) {
                tracing::warn!(operation = %self.op().id, %node, "a proxy did not confirm its routes in time");
            }
        };
        futures::future::join_all(self.answering().into_iter().map(ask)).await;
        Ok(())
    }
}

/// Returns when the record says that the operation is to be undone.
async fn asked_to_abort(mut followed: crate::follower::Followed, id: OperationId) {
    let undoing = |state: &Option<std::sync::Arc<crate::cluster::State>>| {
        state.as_ref().and_then(|s| s.operations.get(&id)).is_some_and(|o| o.undoing.is_some())
    };
    if followed.wait_for(|state| undoing(state)).await.is_err() {
        std::future::pending::<()>().await;
    }
}
