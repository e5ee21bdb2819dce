//! The phases of a move. Each may be run twice; what a phase needs to know is in the records, or can be asked again.

use std::time::Duration;

use flocker_model::{
    AppRecord, Epoch, NodeName, OperationKind, Phase, Point, Round, Snapshot, SnapshotTag,
    Transfer, VolumeId,
};
use flocker_planner::replicas::{
    PREFIX as FOR_REPLICAS, another_round, common_base, stops, superseded,
};
use flocker_ports::{PeerErrorKind, Reply, Step, VolumeEpoch};

use super::{
    commit::{Named, after_swap, attach_orders, copy_at, epoch_of},
    runner::{Runner, Trouble},
    snapshots_in,
};

/// Our snapshots for moves begin so; those of backups and of operators do not, and are left alone.
pub(super) const PREFIX: &str = "move-";

/// What a move is about.
struct Move {
    source: NodeName,
    target: NodeName,
    /// The app's epoch at the source.
    epoch: Epoch,
}

impl Move {
    fn of(runner: &Runner<'_>) -> Result<Self, Trouble> {
        match &runner.op().kind {
            OperationKind::Move { source, target, epoch } => {
                Ok(Self { source: source.clone(), target: target.clone(), epoch: *epoch })
            }
            OperationKind::Deploy { .. }
            | OperationKind::Update { .. }
            | OperationKind::Remove { .. } => {
                Err(Trouble::Refused("this operation is no move".to_owned()))
            }
        }
    }

    fn new_epoch(&self) -> Epoch {
        after_swap(self.epoch)
    }
}

/// Runs one phase.
pub(super) async fn run(runner: &mut Runner<'_>, phase: Phase) -> Result<(), Trouble> {
    let this = Move::of(runner)?;
    match phase {
        Phase::Planned => planned(runner, &this).await,
        Phase::Seed => round(runner, &this).await,
        Phase::Converge => {
            while !runner.app().await?.1.volumes.is_empty()
                && another_round(&runner.op().report.rounds)
            {
                round(runner, &this).await?;
            }
            Ok(())
        }
        Phase::Prepare => {
            let manifest = runner.record().await?.value.manifest;
            runner.tell(&this.target, this.new_epoch(), Step::Prepare { manifest }).await.map(drop)
        }
        Phase::Park | Phase::Unpark => routed(runner, phase).await,
        Phase::Stop => runner.tell(&this.source, this.epoch, Step::Stop).await.map(drop),
        Phase::Seal => {
            let volumes = volume_epochs(&runner.volumes(&runner.app().await?.1).await?);
            runner.tell(&this.source, this.epoch, Step::Seal { volumes }).await.map(drop)
        }
        Phase::Delta => last_round(runner, &this).await,
        Phase::Commit => commit(runner, &this).await,
        Phase::Promote => promote(runner, &this).await,
        Phase::Start => {
            let (record, app) = runner.app().await?;
            let volumes = attach_orders(&runner.volumes(&app).await?);
            start(runner, &this.target, record.value, volumes).await
        }
        Phase::Reverse => reverse(runner, &this).await,
    }
}

/// Undoes one phase.
pub(super) async fn undo(runner: &mut Runner<'_>, phase: Phase) -> Result<(), Trouble> {
    let this = Move::of(runner)?;
    match phase {
        Phase::Planned | Phase::Converge | Phase::Delta | Phase::Commit => Ok(()),
        Phase::Seed => {
            let volumes = volume_epochs(&runner.volumes(&runner.app().await?.1).await?);
            runner
                .tell_if_there(&this.target, this.new_epoch(), Step::AbortReceive { volumes })
                .await?;
            forget_rounds(runner, &this).await
        }
        Phase::Prepare => runner.tell_if_there(&this.target, this.new_epoch(), Step::Discard).await,
        Phase::Park => routed(runner, phase).await,
        Phase::Stop => start_again(runner, &this.source).await,
        Phase::Seal => {
            let volumes = volume_epochs(&runner.volumes(&runner.app().await?.1).await?);
            runner.tell(&this.source, this.epoch, Step::Unseal { volumes }).await.map(drop)
        }
        Phase::Promote | Phase::Start | Phase::Unpark | Phase::Reverse => {
            Err(Trouble::Refused(format!("{phase} comes after the point of no return")))
        }
    }
}

/// Starts the app where it was, as it was.
pub(super) async fn start_again(runner: &mut Runner<'_>, node: &NodeName) -> Result<(), Trouble> {
    let (record, app) = runner.app().await?;
    let volumes = attach_orders(&runner.volumes(&app).await?);
    match start(runner, node, record.value, volumes).await {
        // It runs where it was, and does not become ready: clients may as well see that.
        Err(Trouble::Peer(e)) if e.kind == PeerErrorKind::Refused => {
            runner.operation.value.trouble = Some(e.to_string());
            Ok(())
        }
        // The records have it there: it is started when the node is back.
        Err(Trouble::Peer(e)) if !runner.is_worth_waiting_for(node) => {
            runner.left.push(format!("the app is started again later: {e}"));
            Ok(())
        }
        other => other,
    }
}

/// Waits for the proxies; at the end of the park notes how long clients were held.
pub(super) async fn routed(runner: &mut Runner<'_>, phase: Phase) -> Result<(), Trouble> {
    runner.await_routes().await?;
    if (phase == Phase::Unpark || runner.op().undoing.is_some())
        && let Some(parked) = runner.op().parked
    {
        runner.operation.value.report.blackout = Some(runner.now().since(parked));
    }
    Ok(())
}

pub(super) async fn start(
    runner: &Runner<'_>,
    node: &NodeName,
    record: AppRecord,
    volumes: Vec<flocker_ports::AttachOrder>,
) -> Result<(), Trouble> {
    let step = Step::Start { manifest: record.manifest, volumes };
    runner.tell(node, record.epoch, step).await.map(drop)
}

async fn planned(runner: &Runner<'_>, this: &Move) -> Result<(), Trouble> {
    let (record, app) = runner.app().await?;
    if record.value.owner.as_ref() != Some(&this.source) || record.value.epoch != this.epoch {
        return Err(Trouble::Refused(format!(
            "app `{}` is not on node `{}` any more",
            app.name, this.source
        )));
    }
    for (key, volume) in runner.volumes(&app).await? {
        if volume.value.owner.as_ref() != Some(&this.source) {
            let owner = volume.value.owner.map_or_else(|| "nobody".to_owned(), |n| n.to_string());
            return Err(Trouble::Refused(format!(
                "volume `{key}` of app `{}` belongs to {owner}",
                app.name
            )));
        }
    }
    for node in [&this.source, &this.target] {
        if !runner.leader.inner.nodes.alive(node) {
            return Err(Trouble::Later(format!("node `{node}` does not answer")));
        }
    }
    Ok(())
}

/// Takes a snapshot of all volumes and sends what the target lacks of it.
async fn round(runner: &mut Runner<'_>, this: &Move) -> Result<(), Trouble> {
    let (_, app) = runner.app().await?;
    if app.volumes.is_empty() {
        return Ok(());
    }
    let volumes = runner.volumes(&app).await?;
    let number = runner.op().report.rounds.len();
    let tag = tag(runner, &number.to_string())?;
    let (_, transfer) = send_all(runner, this, &volumes, &tag).await?;
    runner.operation.value.report.rounds.push(Round { tag, transfer });
    runner.save().await?;
    Ok(())
}

/// The snapshot of the sealed volumes.
async fn last_round(runner: &mut Runner<'_>, this: &Move) -> Result<(), Trouble> {
    let (_, app) = runner.app().await?;
    if app.volumes.is_empty() {
        return Ok(());
    }
    let volumes = runner.volumes(&app).await?;
    let tag = last_tag(runner)?;
    let (_, transfer) = send_all(runner, this, &volumes, &tag).await?;
    runner.operation.value.report.rounds.retain(|r| r.tag != tag);
    runner.operation.value.report.rounds.push(Round { tag, transfer });
    Ok(())
}

fn tag(runner: &Runner<'_>, what: &str) -> Result<SnapshotTag, Trouble> {
    SnapshotTag::new(format!("{PREFIX}{}-{what}", runner.op().id))
        .map_err(|e| Trouble::Refused(e.to_string()))
}

fn last_tag(runner: &Runner<'_>) -> Result<SnapshotTag, Trouble> {
    tag(runner, "last")
}

async fn send_all(
    runner: &mut Runner<'_>,
    this: &Move,
    volumes: &[Named],
    tag: &SnapshotTag,
) -> Result<(Vec<Snapshot>, Transfer), Trouble> {
    let snapshots = snapshots_of(runner, this, volumes, tag).await?;
    let address = address_of(runner, &this.target)?;
    let mut total = Transfer::default();
    for ((_, volume), snapshot) in volumes.iter().zip(&snapshots) {
        let (mut base, mut stops) = way_to(runner, this, volume, snapshot).await?;
        stops.push(snapshot.point.clone());
        for to in stops {
            let step = Step::Send {
                volume: epoch_of(volume),
                options: volume.value.options.clone(),
                base,
                to: to.clone(),
                target: this.target.clone(),
                address,
            };
            // What failed may have failed because of the base: the next attempt asks for it again.
            runner.confirmed.remove(&volume.value.id);
            let reply = runner.tell(&this.source, this.epoch, step).await?;
            let Reply::Sent(transfer) = reply else { return Err(unexpected(&this.source, &reply)) };
            total.bytes.0 += transfer.bytes.0;
            total.resumed.0 += transfer.resumed.0;
            total.took += transfer.took.max(Duration::from_millis(1));
            base = Some(to);
        }
        runner.confirmed.insert(volume.value.id.clone(), snapshot.point.clone());
    }
    Ok((snapshots, total))
}

async fn snapshots_of(
    runner: &Runner<'_>,
    this: &Move,
    volumes: &[Named],
    tag: &SnapshotTag,
) -> Result<Vec<Snapshot>, Trouble> {
    let step = Step::Snapshot { volumes: volume_epochs(volumes), tag: tag.clone() };
    let reply = runner.tell(&this.source, this.epoch, step).await?;
    match snapshots_in(reply) {
        Ok(snapshots) if snapshots.len() == volumes.len() => Ok(snapshots),
        Ok(other) => Err(unexpected(&this.source, &Reply::Snapshots(other))),
        Err(other) => Err(unexpected(&this.source, &other)),
    }
}

/// What both sides hold, by their own word, as what the records say may be old; and what is sent before the snapshot itself.
async fn way_to(
    runner: &Runner<'_>,
    this: &Move,
    volume: &crate::cluster::Versioned<flocker_model::Volume>,
    to: &Snapshot,
) -> Result<(Option<Point>, Vec<Point>), Trouble> {
    // While clients wait, two questions less: the snapshot that the target confirmed last is there.
    let confirmed = runner.confirmed.get(&volume.value.id).filter(|p| p.guid != to.point.guid);
    if let Some(point) = confirmed {
        return Ok((Some(point.clone()), vec![]));
    }
    let source = list(runner, &this.source, volume).await?;
    let target = list(runner, &this.target, volume).await?;
    let older: Vec<_> = source.into_iter().filter(|s| s.point.guid != to.point.guid).collect();
    let base = common_base(&older, &target);
    let on_others = volume.value.replicas.iter().filter(|replica| replica.node != this.target);
    let mut others: Vec<_> = on_others.map(flocker_model::Replica::point).collect();
    if volume.value.receivers().any(|receiver| *receiver != this.target) {
        // The records may be a second behind what the receivers hold; what the source keeps for them is not.
        let kept = older.iter().map(|snapshot| &snapshot.point);
        others.extend(kept.filter(|p| p.tag.as_str().starts_with(FOR_REPLICAS)).cloned());
    }
    let stops = stops(&older, base.as_ref(), &to.point, &others);
    Ok((base, stops))
}

async fn list(
    runner: &Runner<'_>,
    node: &NodeName,
    volume: &crate::cluster::Versioned<flocker_model::Volume>,
) -> Result<Vec<Snapshot>, Trouble> {
    // Looking needs no right to write: the newest epoch is never refused as old.
    let reply = runner
        .tell(node, Epoch(u64::MAX), Step::ListSnapshots { volume: epoch_of(volume) })
        .await?;
    match snapshots_in(reply) {
        Ok(snapshots) => Ok(snapshots),
        Err(other) => Err(unexpected(node, &other)),
    }
}

async fn commit(runner: &mut Runner<'_>, this: &Move) -> Result<(), Trouble> {
    let (_, app) = runner.app().await?;
    let volumes = runner.volumes(&app).await?;
    let points = last_points(runner, this, &volumes).await?;
    runner.swap_owner(&this.target, &volumes, &points).await
}

/// The points of the sealed volumes: taken once, answered again however often it is asked.
async fn last_points(
    runner: &Runner<'_>,
    this: &Move,
    volumes: &[Named],
) -> Result<Vec<(VolumeId, Point)>, Trouble> {
    if volumes.is_empty() {
        return Ok(vec![]);
    }
    let snapshots = snapshots_of(runner, this, volumes, &last_tag(runner)?).await?;
    Ok(volumes.iter().zip(snapshots).map(|((_, v), s)| (v.value.id.clone(), s.point)).collect())
}

async fn promote(runner: &Runner<'_>, this: &Move) -> Result<(), Trouble> {
    let (_, app) = runner.app().await?;
    let mut volumes = vec![];
    for (key, volume) in runner.volumes(&app).await? {
        let at = copy_at(&volume.value, &this.target);
        let missing = || {
            Trouble::Refused(format!(
                "the records do not say at which snapshot volume `{key}` arrived"
            ))
        };
        volumes.push((epoch_of(&volume), at.ok_or_else(missing)?));
    }
    if volumes.is_empty() {
        return Ok(());
    }
    runner.tell(&this.target, this.new_epoch(), Step::Promote { volumes }).await.map(drop)
}

/// The source's copies become replicas at the last snapshot, and snapshots that nobody needs go.
async fn reverse(runner: &Runner<'_>, this: &Move) -> Result<(), Trouble> {
    let (_, app) = runner.app().await?;
    let volumes = runner.volumes(&app).await?;
    let mut kept: Vec<(Named, Point)> = vec![];
    for named in volumes {
        let volume = &named.1.value;
        let at = copy_at(volume, &this.target).or_else(|| copy_at(volume, &this.source));
        kept.extend(at.map(|at| (named, at)));
    }
    let retired = kept.iter().map(|((_, v), p)| (epoch_of(v), p.clone())).collect();
    runner.tell(&this.source, this.new_epoch(), Step::Retire { volumes: retired }).await?;
    runner.note_replicas(&this.source, &this.target, &kept).await?;
    for ((_, volume), keep) in &kept {
        for node in [&this.source, &this.target] {
            let which = superseded(&list(runner, node, volume).await?, keep, PREFIX);
            destroy(runner, node, this.new_epoch(), volume, which).await?;
        }
    }
    Ok(())
}

/// After a move that was undone: each side keeps the last snapshot that both hold, for the next attempt, and no other of
/// ours. A move that cannot succeed, tried again and again, must not fill the pools.
async fn forget_rounds(runner: &Runner<'_>, this: &Move) -> Result<(), Trouble> {
    let (_, app) = runner.app().await?;
    let sent = runner.op().report.rounds.last().map(|round| round.tag.clone());
    let mine = tag(runner, "")?;
    for (_, volume) in runner.volumes(&app).await? {
        for (node, epoch) in [(&this.source, this.epoch), (&this.target, this.new_epoch())] {
            // One that does not answer is passed over; the next move that succeeds finds them.
            let Ok(held) = list(runner, node, &volume).await else { continue };
            let keep = held.iter().find(|s| Some(&s.point.tag) == sent.as_ref());
            let which = match keep {
                Some(keep) => superseded(&held, &keep.point, PREFIX),
                None => {
                    let of_mine =
                        held.iter().filter(|s| s.point.tag.as_str().starts_with(mine.as_str()));
                    of_mine.map(|s| s.point.clone()).collect()
                }
            };
            match destroy(runner, node, epoch, &volume, which).await {
                Err(Trouble::Peer(error)) => {
                    tracing::warn!(operation = %runner.op().id, %error, "snapshots are left for the next move");
                }
                other => other?,
            }
        }
    }
    Ok(())
}

async fn destroy(
    runner: &Runner<'_>,
    node: &NodeName,
    epoch: Epoch,
    volume: &crate::cluster::Versioned<flocker_model::Volume>,
    mut which: Vec<Point>,
) -> Result<(), Trouble> {
    // A replica on a third node is still at an older one, and needs it as its base.
    which.retain(|p| !volume.value.replicas.iter().any(|r| r.guid == p.guid));
    if which.is_empty() {
        return Ok(());
    }
    let step = Step::DestroySnapshots { volume: epoch_of(volume), which };
    runner.tell(node, epoch, step).await.map(drop)
}

fn volume_epochs(volumes: &[Named]) -> Vec<VolumeEpoch> {
    volumes.iter().map(|(_, v)| epoch_of(v)).collect()
}

fn address_of(runner: &Runner<'_>, node: &NodeName) -> Result<std::net::SocketAddr, Trouble> {
    let state = runner.leader.inner.parts.followed.borrow().clone();
    let found = state.as_ref().and_then(|s| s.nodes.get(node)).map(|n| n.value.replication);
    found.ok_or_else(|| {
        Trouble::Refused(format!("node `{node}` does not belong to the cluster any more"))
    })
}

pub(super) fn unexpected(node: &NodeName, reply: &Reply) -> Trouble {
    Trouble::Refused(format!("node `{node}` answered what was not asked: {reply:?}"))
}
