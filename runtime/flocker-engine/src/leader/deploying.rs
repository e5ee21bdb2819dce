//! The phases of a deployment and of an update.

use std::time::Duration;

use flocker_model::{
    App, AppRecord, Epoch, Left, NodeName, Operation, OperationKind, Phase, Volume,
};
use flocker_planner::{
    Decision,
    phases::{ASKED_TO_ABORT, DEPLOY_NODES_MAX, Next},
    plan::again,
};
use flocker_ports::{ContainerState, Step, VolumeOrder};

use super::{
    commit::{Named, attach_orders, claimed, epoch_of},
    moving::{routed, start, start_again},
    runner::{Runner, Trouble},
    seed_of,
};
use crate::cluster::{ClusterError, State, Versioned};

/// Where it happens, and with which manifest.
struct Deployment {
    node: NodeName,
    epoch: Epoch,
    manifest: String,
    app: App,
}

impl Deployment {
    async fn of(runner: &Runner<'_>) -> Result<Self, Trouble> {
        let mut record = runner.record().await?;
        let node = match &runner.op().kind {
            OperationKind::Deploy { target, .. } => target.clone(),
            OperationKind::Update { node, manifest } => {
                record.value.manifest.clone_from(manifest);
                node.clone()
            }
            OperationKind::Move { .. } | OperationKind::Remove { .. } => {
                return Err(Trouble::Refused("this operation is no deployment".to_owned()));
            }
        };
        let app = crate::cluster::read_manifest(&record.value).map_err(Trouble::Refused)?;
        Ok(Self { node, epoch: record.value.epoch, manifest: record.value.manifest, app })
    }
}

/// Runs one phase.
pub(super) async fn run(runner: &mut Runner<'_>, phase: Phase) -> Result<(), Trouble> {
    let this = Deployment::of(runner).await?;
    match phase {
        Phase::Planned => {
            for (_, volume) in runner.volumes(&this.app).await? {
                claimed(&volume, &this.app.name, &this.node)?;
            }
            if runner.leader.inner.nodes.alive(&this.node) {
                Ok(())
            } else {
                Err(Trouble::Later(format!("node `{}` does not answer", this.node)))
            }
        }
        Phase::Seed => {
            runner
                .tell(&this.node, this.epoch, Step::Fetch { manifest: this.manifest.clone() })
                .await?;
            create_volumes(runner, &this).await
        }
        Phase::Prepare => runner
            .tell(&this.node, this.epoch, Step::Prepare { manifest: this.manifest })
            .await
            .map(drop),
        Phase::Park => routed(runner, phase).await,
        Phase::Unpark => {
            routed(runner, phase).await?;
            notice_crash(runner, &this).await
        }
        Phase::Stop => runner.tell(&this.node, this.epoch, Step::Stop).await.map(drop),
        Phase::Commit => {
            let volumes = runner.volumes(&this.app).await?;
            match runner.op().kind {
                OperationKind::Update { .. } => {
                    runner.set_manifest(&this.node, &this.manifest, &volumes).await
                }
                OperationKind::Deploy { .. }
                | OperationKind::Move { .. }
                | OperationKind::Remove { .. } => runner.set_owner(&this.node, &volumes).await,
            }
        }
        Phase::Start => {
            let volumes = attach_orders(&runner.volumes(&this.app).await?);
            let record = runner.record().await?;
            start(runner, &this.node, record.value, volumes).await
        }
        Phase::Converge | Phase::Seal | Phase::Delta | Phase::Promote | Phase::Reverse => Ok(()),
    }
}

/// A process that cannot work with what it was given mostly ends within this time. Clients are let through before.
const FIRST_STEPS: Duration = Duration::from_millis(500);

/// Whoever deploys something wants to hear if it ends at once. A container with a health check was waited for already.
async fn notice_crash(runner: &mut Runner<'_>, this: &Deployment) -> Result<(), Trouble> {
    tokio::time::sleep(FIRST_STEPS).await;
    let Some(observation) = runner.leader.look_at(&this.node).await else { return Ok(()) };
    let apps = observation.apps.unwrap_or_default();
    let here = apps.into_iter().filter(|a| a.app == this.app.name);
    let mut ended = here.flat_map(|a| a.containers).filter_map(|c| match c.state {
        ContainerState::Exited { status, .. } if status != 0 => Some((c.name, status)),
        ContainerState::Exited { .. }
        | ContainerState::Created
        | ContainerState::Gated
        | ContainerState::Running { .. } => None,
    });
    if let Some((name, status)) = ended.next() {
        runner.operation.value.trouble = Some(format!(
            "container `{name}` ended with status {status} at once\nhint: `flocker app logs {} {name}` shows what it said",
            this.app.name
        ));
    }
    Ok(())
}

/// Undoes one phase.
pub(super) async fn undo(runner: &mut Runner<'_>, phase: Phase) -> Result<(), Trouble> {
    let update = matches!(runner.op().kind, OperationKind::Update { .. });
    match phase {
        Phase::Seed => {
            let this = Deployment::of(runner).await?;
            destroy_new_volumes(runner, &this).await
        }
        Phase::Prepare if !update => {
            let this = Deployment::of(runner).await?;
            discard(runner, &this).await
        }
        Phase::Park => routed(runner, phase).await,
        Phase::Stop => {
            // The record still has the manifest of before.
            match runner.record().await?.value.owner {
                Some(owner) => start_again(runner, &owner).await,
                None => Ok(()),
            }
        }
        Phase::Planned
        | Phase::Converge
        | Phase::Prepare
        | Phase::Seal
        | Phase::Delta
        | Phase::Commit
        | Phase::Promote
        | Phase::Start
        | Phase::Unpark
        | Phase::Reverse => Ok(()),
    }
}

/// Volumes that this deployment makes: those without an owner. One that has an owner has data somewhere, and making
/// it anew would put an empty one in its place.
fn ownerless(volumes: &[Named]) -> impl Iterator<Item = &Named> {
    volumes.iter().filter(|(_, v)| v.value.owner.is_none())
}

async fn create_volumes(runner: &Runner<'_>, this: &Deployment) -> Result<(), Trouble> {
    let volumes = runner.volumes(&this.app).await?;
    let order = |(_, v): &Named| VolumeOrder {
        volume: epoch_of(v),
        options: v.value.options.clone(),
        owner: v.value.ownership,
    };
    let orders: Vec<_> = ownerless(&volumes).map(order).collect();
    if orders.is_empty() {
        return Ok(());
    }
    runner.tell(&this.node, this.epoch, Step::CreateVolumes { volumes: orders }).await.map(drop)
}

/// Removes the containers that were prepared. On a node that is away they are left for later.
async fn discard(runner: &mut Runner<'_>, this: &Deployment) -> Result<(), Trouble> {
    match runner.tell(&this.node, this.epoch, Step::Discard).await {
        Err(Trouble::Peer(error)) => {
            let what = Left::App { name: this.app.name.clone(), epoch: this.epoch };
            runner.leave(&this.node, what, &error.message).await
        }
        done => done.map(drop),
    }
}

/// Nobody ever wrote to them: the app never ran.
async fn destroy_new_volumes(runner: &mut Runner<'_>, this: &Deployment) -> Result<(), Trouble> {
    let volumes = runner.volumes(&this.app).await?;
    for (_, named) in ownerless(&volumes) {
        let volumes = vec![epoch_of(named)];
        let Volume { id, name, epoch, .. } = named.value.clone();
        match runner.tell(&this.node, this.epoch, Step::DestroyVolumes { volumes }).await {
            Err(Trouble::Peer(error)) => {
                let what = Left::Volume { id, name, epoch };
                runner.leave(&this.node, what, &error.message).await?;
            }
            done => drop(done?),
        }
    }
    Ok(())
}

/// Where an undone deployment begins anew, unless an operator ended it, it was tried often enough, or no other node may
/// have the app.
pub(super) async fn elsewhere(
    runner: &mut Runner<'_>,
    reason: &str,
) -> Result<Option<Next>, ClusterError> {
    let OperationKind::Deploy { target, mut tried } = runner.op().kind.clone() else {
        return Ok(None);
    };
    tried.push(target);
    if reason == ASKED_TO_ABORT || tried.len() >= DEPLOY_NODES_MAX {
        return Ok(None);
    }
    let cluster = runner.leader.inner.parts.cluster.clone();
    let state = cluster.read().await?;
    let name = &runner.op().app;
    let (Some(known), Some(app)) = (state.apps.get(name), state.manifests.get(name)) else {
        return Ok(None);
    };
    let Some(decision) = decide(runner, &state, known, app, &tried).await else { return Ok(None) };
    let Some(target) = decision.chosen.clone() else { return Ok(None) };
    tracing::info!(operation = %runner.op().id, app = %name, %target, reason, "trying another node");
    let mut operation = runner.op().clone();
    operation.kind = OperationKind::Deploy { target, tried };
    operation.phase = Phase::Planned;
    operation.undoing = None;
    let mut changes = cluster
        .change()
        .replace(runner.operation.revision, &operation)
        .decision(&operation.id, crate::explain::document(&decision));
    // What the node that was tried may still have is of another epoch, and its volumes are others.
    let record = AppRecord { epoch: Epoch(state.revision.0 + 1), ..known.value.clone() };
    changes = changes.replace(known.revision, &record);
    for (_, volume) in state.volumes_of(app).into_iter().filter(|(_, v)| v.value.owner.is_none()) {
        let anew = Volume { id: crate::control::volume_id(), ..volume.value };
        changes = changes.replace(volume.revision, &anew);
    }
    runner.operation.revision = cluster.commit(changes).await?;
    runner.operation.value = operation;
    Ok(Some(Next::Run(Phase::Planned)))
}

/// Why a deployment was undone, on each node where it was tried.
pub(super) fn reasons(operation: &Operation, last: &str) -> String {
    match &operation.kind {
        OperationKind::Deploy { tried, .. } if !tried.is_empty() => {
            let failed = operation.report.phases.iter().filter(|p| !p.undo);
            let mut reasons: Vec<_> = failed.filter_map(|p| p.trouble.as_deref()).collect();
            // The last one has its hint behind it; an operator's word is no phase's trouble.
            reasons.retain(|reason| *reason != last);
            let mut said: Vec<_> = reasons.iter().filter_map(|r| r.lines().next()).collect();
            said.push(last);
            said.join("\n")
        }
        OperationKind::Deploy { .. }
        | OperationKind::Update { .. }
        | OperationKind::Move { .. }
        | OperationKind::Remove { .. } => last.to_owned(),
    }
}

/// Asks the policies again, without the nodes that were tried.
async fn decide(
    runner: &Runner<'_>,
    state: &State,
    known: &Versioned<AppRecord>,
    app: &App,
    tried: &[NodeName],
) -> Option<Decision> {
    let world = runner.leader.world(state);
    let policies = runner.leader.inner.parts.policies.clone();
    let (record, app, tried) = (known.value.clone(), app.clone(), tried.to_vec());
    // The decision is kept under the operation's id, and its seed follows from that.
    let (id, seed) = (runner.op().id.clone(), seed_of(&runner.op().id));
    let decided = tokio::task::spawn_blocking(move || {
        again(&world, &record, &app, &tried, &*policies, id, seed)
    });
    decided.await.ok()
}
