//! The changes of several records at once: the swap of owners, and what the end of an operation leaves.

use flocker_model::{
    App, AppName, AppState, Epoch, NodeName, Operation, OperationKind, OperationState, Phase,
    Point, Replica, Timestamp, Volume, VolumeId, VolumeSource,
};
use flocker_ports::{AttachOrder, VolumeEpoch};

use super::runner::{Runner, Trouble};
use crate::cluster::{Changes, ClusterError, Versioned};

/// A volume of the app, and what its manifest calls it.
pub(super) type Named = (String, Versioned<Volume>);

/// A volume under the epoch that its record says.
pub(super) fn epoch_of(volume: &Versioned<Volume>) -> VolumeEpoch {
    VolumeEpoch::from(&volume.value)
}

/// The volumes, as an order to attach them names them.
pub(super) fn attach_orders(volumes: &[Named]) -> Vec<AttachOrder> {
    volumes.iter().map(|(key, v)| AttachOrder { volume: epoch_of(v), key: key.clone() }).collect()
}

/// The snapshot at which a node's copy of the volume was when this was written down.
pub(super) fn copy_at(volume: &Volume, node: &NodeName) -> Option<Point> {
    volume.replicas.iter().find(|r| r.node == *node).map(Replica::point)
}

/// Notes down a copy that holds everything up to a moment; one that was noted down before keeps its own.
fn set_copy(volume: &mut Volume, node: &NodeName, at: &Point, now: Timestamp) {
    let known = volume.replicas.iter().find(|r| r.guid == at.guid);
    let taken = known.map_or(Some(now), |known| known.taken);
    volume.replicas.retain(|r| r.node != *node);
    volume.replicas.push(Replica {
        node: node.clone(),
        tag: at.tag.clone(),
        guid: at.guid.clone(),
        taken,
    });
}

/// A volume that moves to a node which had a replica leaves one where it was: there are as many as before.
fn trade_places(volume: &mut Volume, source: Option<&NodeName>, target: &NodeName) {
    let (Some(replication), Some(source)) = (&mut volume.replication, source) else { return };
    for nodes in [&mut replication.named, &mut replication.chosen] {
        if nodes.remove(target) {
            nodes.insert(source.clone());
        }
    }
}

/// The volume, as the app's on that node. Two apps that adopt one volume are told apart here, at the latest.
pub(super) fn claimed(
    volume: &Versioned<Volume>,
    app: &AppName,
    node: &NodeName,
) -> Result<Volume, Trouble> {
    let mut claimed = volume.value.clone();
    let name = &claimed.name;
    if let Some(other) = claimed.app.as_ref().filter(|other| *other != app) {
        return Err(Trouble::Refused(format!("volume `{name}` belongs to app `{other}`")));
    }
    if let Some(owner) = claimed.owner.as_ref().filter(|owner| *owner != node) {
        return Err(Trouble::Refused(format!(
            "volume `{name}` is on node `{owner}`, app `{app}` on node `{node}`\nhint: `flocker move {app} --to {owner}` brings them together"
        )));
    }
    claimed.owner = Some(node.clone());
    claimed.app = Some(app.clone());
    Ok(claimed)
}

/// Whether the volume was made with the app, and goes with it when asked.
pub(super) fn owns(app: &App, volume: &Volume) -> bool {
    app.volumes.iter().any(|v| matches!(&v.source, VolumeSource::Own(name) if *name == volume.name))
}

impl Runner<'_> {
    /// The app's volumes, fresh from the store.
    pub(super) async fn volumes(&self, app: &flocker_model::App) -> Result<Vec<Named>, Trouble> {
        let mut volumes = vec![];
        for spec in &app.volumes {
            let found = self.leader.inner.parts.cluster.get::<Volume>(spec.name().as_str()).await?;
            let missing = || Trouble::Refused(format!("volume `{}` does not exist", spec.name()));
            volumes.push((spec.key.clone(), found.ok_or_else(missing)?));
        }
        Ok(volumes)
    }

    /// The point of no return of a move: app and volumes change their owner together, with the next phase.
    pub(super) async fn swap_owner(
        &mut self,
        target: &NodeName,
        volumes: &[Named],
        points: &[(VolumeId, Point)],
    ) -> Result<(), Trouble> {
        let mut record = self.record().await?;
        if record.value.operation.as_ref() != Some(&self.op().id) {
            return Err(Trouble::Refused(format!(
                "app `{}` is held by another operation",
                self.op().app
            )));
        }
        record.value.owner = Some(target.clone());
        record.value.epoch = record.value.epoch.next();
        record.value.placed = self.now();
        let mut changes =
            self.leader.inner.parts.cluster.change().replace(record.revision, &record.value);
        for (_, volume) in volumes {
            let mut swapped = volume.value.clone();
            swapped.owner = Some(target.clone());
            swapped.epoch = swapped.epoch.next();
            trade_places(&mut swapped, volume.value.owner.as_ref(), target);
            if let Some((_, point)) = points.iter().find(|(id, _)| *id == swapped.id) {
                // It was sealed before, so nothing was written since.
                let now = record.value.placed;
                set_copy(&mut swapped, target, point, now);
                // Sealed at this very point, and to become a replica there, now or when its node is back.
                if let Some(source) = &volume.value.owner {
                    set_copy(&mut swapped, source, point, now);
                }
            }
            changes = changes.replace(volume.revision, &swapped);
        }
        self.commit_with_next(changes).await
    }

    /// The point of no return of a deployment: app and new volumes get their owner.
    pub(super) async fn set_owner(
        &mut self,
        target: &NodeName,
        volumes: &[Named],
    ) -> Result<(), Trouble> {
        let mut record = self.record().await?;
        record.value.owner = Some(target.clone());
        record.value.placed = self.now();
        let mut changes =
            self.leader.inner.parts.cluster.change().replace(record.revision, &record.value);
        for (_, volume) in volumes {
            changes =
                changes.replace(volume.revision, &claimed(volume, &record.value.name, target)?);
        }
        self.commit_with_next(changes).await
    }

    /// The point of no return of an update: the new manifest counts.
    pub(super) async fn set_manifest(
        &mut self,
        node: &NodeName,
        manifest: &str,
        volumes: &[Named],
    ) -> Result<(), Trouble> {
        let mut record = self.record().await?;
        manifest.clone_into(&mut record.value.manifest);
        let mut changes =
            self.leader.inner.parts.cluster.change().replace(record.revision, &record.value);
        for (_, volume) in volumes {
            changes = changes.replace(volume.revision, &claimed(volume, &record.value.name, node)?);
        }
        // What the new manifest does not name any more keeps its data and belongs to nobody.
        let state = self.leader.inner.parts.cluster.read().await?;
        let kept = |v: &Volume| volumes.iter().any(|(_, k)| k.value.name == v.name);
        for volume in state.volumes.values().filter(|v| !kept(&v.value)) {
            if volume.value.app.as_ref() == Some(&record.value.name) {
                let freed = Volume { app: None, ..volume.value.clone() };
                changes = changes.replace(volume.revision, &freed);
            }
        }
        self.commit_with_next(changes).await
    }

    /// The point of no return of a removal: the app has no routes any more and is on its way out.
    pub(super) async fn set_removing(&mut self) -> Result<(), Trouble> {
        let mut record = self.record().await?;
        record.value.state = AppState::Removing;
        let changes =
            self.leader.inner.parts.cluster.change().replace(record.revision, &record.value);
        self.commit_with_next(changes).await
    }

    async fn commit_with_next(&mut self, changes: Changes) -> Result<(), Trouble> {
        let list = flocker_planner::phases::phases(&self.op().kind);
        let at = list.iter().position(|p| *p == Phase::Commit);
        let next = at.and_then(|at| list.get(at + 1)).copied().unwrap_or(Phase::Reverse);
        let mut operation = self.operation.value.clone();
        operation.phase = next;
        operation.state = OperationState::Running;
        let changes = changes.replace(self.operation.revision, &operation);
        self.operation.revision = self.leader.inner.parts.cluster.commit(changes).await?;
        self.operation.value = operation;
        Ok(())
    }

    /// After a move: the source's copy is a replica now, the target's is none any more.
    pub(super) async fn note_replicas(
        &self,
        source: &NodeName,
        target: &NodeName,
        volumes: &[(Named, Point)],
    ) -> Result<(), Trouble> {
        let mut changes = self.leader.inner.parts.cluster.change();
        for ((_, volume), point) in volumes {
            let mut noted = volume.value.clone();
            set_copy(&mut noted, source, point, self.now());
            noted.replicas.retain(|r| r.node != *target);
            if noted != volume.value {
                changes = changes.replace(volume.revision, &noted);
            }
        }
        self.leader.inner.parts.cluster.commit(changes).await?;
        Ok(())
    }

    /// What the end of the operation means for the app's other records.
    pub(super) async fn release(
        &self,
        mut changes: Changes,
        ended: &Operation,
    ) -> Result<Changes, ClusterError> {
        let cluster = &self.leader.inner.parts.cluster;
        let Some(mut record) = cluster.get::<flocker_model::AppRecord>(ended.app.as_str()).await?
        else {
            return Ok(changes);
        };
        if record.value.operation.as_ref() != Some(&ended.id) {
            return Ok(changes);
        }
        let state = cluster.read().await?;
        let gone = match (&ended.kind, &ended.state) {
            (
                OperationKind::Remove { .. },
                OperationState::Done | OperationState::Failed { .. },
            ) => true,
            // It never had a place: deploying it again begins from nothing.
            (OperationKind::Deploy { .. }, OperationState::Aborted { .. }) => {
                record.value.owner.is_none()
            }
            (
                OperationKind::Deploy { .. }
                | OperationKind::Update { .. }
                | OperationKind::Move { .. }
                | OperationKind::Remove { .. },
                _,
            ) => false,
        };
        if !gone {
            record.value.operation = None;
            let mine = |v: &&Versioned<Volume>| {
                v.value.app.as_ref() == Some(&ended.app) && v.value.owner.is_none()
            };
            for never_made in state.volumes.values().filter(mine) {
                changes = changes.remove(never_made);
            }
            return Ok(changes.replace(record.revision, &record.value));
        }
        let destroyed = matches!(ended.kind, OperationKind::Remove { volumes: true, .. });
        let manifest = state.manifests.get(&ended.app);
        for volume in state.volumes.values().filter(|v| v.value.app.as_ref() == Some(&ended.app)) {
            let own = manifest.is_some_and(|app| owns(app, &volume.value));
            if volume.value.owner.is_none() || (destroyed && own) {
                changes = changes.remove(volume);
            } else {
                let mut freed = volume.value.clone();
                freed.app = None;
                changes = changes.replace(volume.revision, &freed);
            }
        }
        Ok(changes.remove(&record))
    }
}

/// The epoch that the app will have after its owner was swapped.
pub(super) fn after_swap(epoch: Epoch) -> Epoch {
    epoch.next()
}
