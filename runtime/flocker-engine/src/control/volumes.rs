//! What operators can ask for about volumes.

use flocker_model::{
    ByteSize, Epoch, NodeName, OperationId, Snapshot, SnapshotTag, Volume, VolumeName,
};
use flocker_ports::{Reply, Step, VolumeEpoch, VolumeOrder};

use super::{Control, Refusal, no_node, volume_id};
use crate::{
    cluster::{State, Versioned},
    leader::{draw, snapshots_in},
};

impl Control {
    /// Makes an empty volume on a node, or on the one with the most free space.
    ///
    /// # Errors
    /// A name that is taken, no such node, or a node that cannot make it; then nothing is left of it.
    pub async fn create_volume(
        &self,
        name: &VolumeName,
        size: ByteSize,
        ownership: Option<(u32, u32)>,
        node: Option<&NodeName>,
    ) -> Result<Volume, Refusal> {
        let state = self.state().await?;
        if state.volumes.contains_key(name) {
            return Err(Refusal::new(
                "already-exists",
                format!("there is a volume `{name}` already"),
            ));
        }
        let owner = match node {
            Some(node) if state.nodes.contains_key(node) => node.clone(),
            Some(node) => return Err(no_node(node, &state)),
            None => self.roomiest(&state, size)?,
        };
        let volume = Volume {
            id: volume_id(),
            name: name.clone(),
            app: None,
            owner: Some(owner),
            epoch: Epoch::FIRST,
            size,
            ownership,
            replicas: vec![],
        };
        let cluster = &self.leader.inner.parts.cluster;
        let revision = cluster.commit(cluster.change().create(&volume)).await?;
        let order = VolumeOrder { volume: epoch_of(&volume), size, owner: ownership };
        if let Err(refusal) =
            self.tell_owner(&volume, Step::CreateVolumes { volumes: vec![order] }).await
        {
            // Nothing half-made: what the node may have made has no record, and is removed with it if it answers.
            let gone = Step::DestroyVolumes { volumes: vec![epoch_of(&volume)] };
            let undone = self.tell_owner(&volume, gone).await;
            if undone.is_ok() {
                cluster
                    .commit(cluster.change().remove(&Versioned { value: volume, revision }))
                    .await?;
            }
            return Err(refusal);
        }
        Ok(volume)
    }

    /// Removes a volume for good: the owner's copy and all replicas that can be reached.
    ///
    /// # Errors
    /// No such volume, one that an app uses, or an owner that does not answer.
    pub async fn remove_volume(&self, name: &VolumeName) -> Result<(), Refusal> {
        let state = self.state().await?;
        let known = find(&state, name)?;
        if let Some(app) = &known.value.app {
            return Err(Refusal::new("volume-in-use", format!("app `{app}` uses volume `{name}`"))
                .hint(format!("`flocker app rm {app} --volumes` removes both")));
        }
        self.tell_owner(
            &known.value,
            Step::DestroyVolumes { volumes: vec![epoch_of(&known.value)] },
        )
        .await?;
        // A move that was undone leaves a copy that no record names.
        let mut holders = self.leader.inner.nodes.holders(&known.value.id);
        holders.extend(known.value.replicas.iter().map(|r| r.node.clone()));
        for node in holders.iter().filter(|node| Some(*node) != known.value.owner.as_ref()) {
            let gone = Step::DestroyVolumes { volumes: vec![epoch_of(&known.value)] };
            if let Err(refusal) = self.tell_node(&known.value, node, gone).await {
                tracing::warn!(volume = %name, %node, %refusal, "a replica could not be removed");
            }
        }
        let cluster = &self.leader.inner.parts.cluster;
        cluster.commit(cluster.change().remove(known)).await?;
        Ok(())
    }

    /// Takes a snapshot. Without a tag it is named after the time.
    ///
    /// # Errors
    /// No such volume, or an owner that cannot take one.
    pub async fn snapshot(
        &self,
        name: &VolumeName,
        tag: Option<SnapshotTag>,
    ) -> Result<Snapshot, Refusal> {
        let state = self.state().await?;
        let known = find(&state, name)?;
        let now = self.leader.inner.parts.clock.now();
        let named = SnapshotTag::new(format!("manual-{}", now.0));
        let tag =
            tag.map_or(named, Ok).map_err(|e| Refusal::new("invalid-argument", e.to_string()))?;
        let step = Step::Snapshot { volumes: vec![epoch_of(&known.value)], tag };
        let mut taken = self.tell_for_snapshots(&known.value, step).await?;
        taken.pop().ok_or_else(|| {
            Refusal::new("internal", format!("the node took no snapshot of volume `{name}`"))
        })
    }

    /// The snapshots of the owner's copy, oldest first.
    ///
    /// # Errors
    /// No such volume, or an owner that does not answer.
    pub async fn snapshots(&self, name: &VolumeName) -> Result<Vec<Snapshot>, Refusal> {
        let state = self.state().await?;
        let known = find(&state, name)?;
        let step = Step::ListSnapshots { volume: epoch_of(&known.value) };
        self.tell_for_snapshots(&known.value, step).await
    }

    async fn tell_for_snapshots(
        &self,
        volume: &Volume,
        step: Step,
    ) -> Result<Vec<Snapshot>, Refusal> {
        snapshots_in(self.tell_owner(volume, step).await?).map_err(|other| {
            Refusal::new("internal", format!("the node answered what was not asked: {other:?}"))
        })
    }

    fn roomiest(&self, state: &State, size: ByteSize) -> Result<NodeName, Refusal> {
        let free = |name: &NodeName| {
            let seen = self.seen(name).filter(crate::leader::Seen::alive)?;
            Some((seen.observation.stats.pool.free, name.clone()))
        };
        let open = state
            .nodes
            .iter()
            .filter(|(_, n)| !n.value.draining)
            .filter_map(|(name, _)| free(name));
        let (_, node) = open
            .filter(|(room, _)| *room >= size)
            .max()
            .ok_or_else(|| Refusal::new("no-candidate", format!("no node has {size} free")))?;
        Ok(node)
    }

    async fn tell_owner(&self, volume: &Volume, step: Step) -> Result<Reply, Refusal> {
        match &volume.owner {
            Some(owner) => self.tell_node(volume, owner, step).await,
            None => Err(Refusal::new(
                "no-candidate",
                format!("volume `{}` has no node yet", volume.name),
            )),
        }
    }

    /// Steps about volumes alone are no app's business: the lock that they take on the node is the volume's own.
    async fn tell_node(
        &self,
        volume: &Volume,
        node: &NodeName,
        step: Step,
    ) -> Result<Reply, Refusal> {
        let (operation, _): (OperationId, u64) = draw();
        let app = flocker_model::AppName::new(volume.id.as_str())
            .map_err(|e| Refusal::new("internal", e.to_string()))?;
        let order = crate::leader::Leader::order(&operation, &app, Epoch(u64::MAX), step);
        Ok(self.leader.tell(node, order).await?)
    }
}

fn epoch_of(volume: &Volume) -> VolumeEpoch {
    VolumeEpoch { id: volume.id.clone(), epoch: volume.epoch }
}

fn find<'a>(state: &'a State, name: &VolumeName) -> Result<&'a Versioned<Volume>, Refusal> {
    state.volumes.get(name).ok_or_else(|| {
        Refusal::new("volume-not-found", format!("there is no volume `{name}`"))
            .hint("`flocker volume ls` lists the volumes")
    })
}
