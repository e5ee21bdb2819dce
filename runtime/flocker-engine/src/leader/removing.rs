//! The phases of a removal. There is no way back: an operator asked for it. Nobody is waited for longer than it takes to
//! be sure that they are away: what they have is written down as left, and goes when they are back.

use flocker_model::{
    AppName, AppRecord, Left, NodeName, Operation, OperationKind, OperationState, Phase, Volume,
};
use flocker_planner::phases;
use flocker_ports::Step;

use super::{
    Leader,
    commit::owns,
    runner::{Runner, Trouble},
};
use crate::cluster::{ClusterError, State, Versioned};

/// Runs one phase.
pub(super) async fn run(runner: &mut Runner<'_>, phase: Phase) -> Result<(), Trouble> {
    let OperationKind::Remove { node, volumes } = runner.op().kind.clone() else {
        return Err(Trouble::Refused("this operation is no removal".to_owned()));
    };
    match phase {
        Phase::Commit => runner.set_removing().await,
        Phase::Stop => match &node {
            Some(node) => stop(runner, node).await,
            None => Ok(()),
        },
        Phase::Reverse => remove_everywhere(runner, node.as_ref(), volumes).await,
        Phase::Planned
        | Phase::Seed
        | Phase::Converge
        | Phase::Prepare
        | Phase::Park
        | Phase::Seal
        | Phase::Delta
        | Phase::Promote
        | Phase::Start
        | Phase::Unpark => Ok(()),
    }
}

async fn stop(runner: &Runner<'_>, node: &NodeName) -> Result<(), Trouble> {
    let epoch = runner.record().await?.value.epoch;
    match runner.tell(node, epoch, Step::Stop).await {
        Err(Trouble::Peer(_)) if !runner.is_worth_waiting_for(node) => Ok(()),
        done => done.map(drop),
    }
}

/// Every node is told: any may have something of the app from a move that was undone. Only the one that ran the app is
/// waited for.
async fn remove_everywhere(
    runner: &mut Runner<'_>,
    owner: Option<&NodeName>,
    destroy: bool,
) -> Result<(), Trouble> {
    let record = runner.record().await?.value;
    let state = runner.leader.inner.parts.cluster.read().await?;
    let volumes = if destroy { own_volumes(runner, &state, &record.name) } else { vec![] };
    for node in state.nodes.keys() {
        // A move that was undone told its target about an epoch that never began.
        let app = Left::App { name: record.name.clone(), epoch: record.epoch.next() };
        let copy =
            |v: &Volume| Left::Volume { id: v.id.clone(), name: v.name.clone(), epoch: v.epoch };
        for what in std::iter::once(app).chain(volumes.iter().map(copy)) {
            let removed = runner.remove(node, &what).await;
            let patient = owner == Some(node) && runner.is_worth_waiting_for(node);
            match removed {
                Err(Trouble::Peer(error)) if !patient => {
                    runner.leave(node, what, &error.message).await?;
                }
                done => done?,
            }
        }
    }
    Ok(())
}

/// The volumes that were made with the app. Where its manifest cannot be read nobody knows which these are.
fn own_volumes(runner: &mut Runner<'_>, state: &State, app: &AppName) -> Vec<Volume> {
    let mine: Vec<_> =
        state.volumes.values().map(|v| &v.value).filter(|v| v.app.as_ref() == Some(app)).collect();
    match state.manifests.get(app) {
        Some(manifest) => mine.into_iter().filter(|v| owns(manifest, v)).cloned().collect(),
        None => {
            let names: Vec<_> = mine.iter().map(|v| format!("`{}`", v.name)).collect();
            runner.operation.value.trouble = (!names.is_empty()).then(|| {
                format!(
                    "its manifest cannot be read, so nobody knows which volumes were made with it; these stay: {}\nhint: `flocker volume rm` removes them",
                    names.join(", ")
                )
            });
            vec![]
        }
    }
}

impl Leader {
    /// Ends the operation that holds an app that is to be removed, where it can neither be aborted nor get on: a node that
    /// it needs may never come back. Returns whether there was one.
    pub(crate) async fn give_up(&self, state: &State, app: &AppName) -> Result<bool, ClusterError> {
        let cluster = &self.inner.parts.cluster;
        let Some(Versioned { value: record, revision }) = state.apps.get(app) else {
            return Ok(false);
        };
        let Some(id) = &record.operation else { return Ok(false) };
        let Some(mut held) = cluster.get::<Operation>(id.as_str()).await? else { return Ok(false) };
        let operation = &mut held.value;
        let Some(reason) = self.stuck(operation) else { return Ok(false) };
        let reason = format!("given up, because the app is to be removed; until then: {reason}");
        operation.state = OperationState::Failed { reason };
        operation.finished = Some(self.inner.parts.clock.now());
        let free = AppRecord { operation: None, ..record.clone() };
        let changes = cluster.change().replace(held.revision, operation).replace(*revision, &free);
        cluster.commit(changes).await?;
        Ok(true)
    }

    /// Why an operation does not get on that cannot be aborted.
    fn stuck(&self, operation: &Operation) -> Option<String> {
        let nodes = match &operation.kind {
            OperationKind::Deploy { target, .. } => vec![target],
            OperationKind::Update { node, .. } => vec![node],
            OperationKind::Move { source, target, .. } => vec![source, target],
            OperationKind::Remove { .. } => return None,
        };
        if operation.state.is_final() || phases::can_abort(operation) {
            return None;
        }
        let dead = nodes.into_iter().find(|node| !self.inner.nodes.alive(node));
        match &operation.state {
            OperationState::Waiting { reason } => Some(reason.clone()),
            OperationState::Running
            | OperationState::Done
            | OperationState::Aborted { .. }
            | OperationState::Failed { .. } => {
                dead.map(|node| format!("node `{node}` does not answer"))
            }
        }
    }
}
