//! What operators can ask for about volumes.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use flocker_model::{
    App, AppName, ByteSize, Epoch, Left, Leftover, NodeName, OperationId, Snapshot, SnapshotTag,
    Volume, VolumeName, VolumeOptions, VolumeState,
};
use flocker_ports::{Reply, Step, VolumeOrder};

use super::{Control, Refusal, volume_id};
use crate::{
    cluster::{State, Versioned},
    leader::{Leader, OWN_SNAPSHOTS, Seen, draw, snapshots_in, upkeep::lock_of},
    records::Record as _,
};

/// Whoever removes a volume waits so long for its nodes: removing snapshots may take a disk some seconds.
const GONE_WITHIN: Duration = Duration::from_secs(20);

/// A node that lists snapshots within this time is shown with the newest of them.
const GLANCE: Duration = Duration::from_secs(2);

/// A copy of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// Where.
    pub node: NodeName,
    /// As its node reports it.
    pub state: VolumeState,
    /// Its newest snapshot; `None` when there is none, or its node did not say in time.
    pub newest: Option<Snapshot>,
}

impl Control {
    /// Makes an empty volume on a node, or on the one with the most free space.
    ///
    /// # Errors
    /// A name that is taken, no such node, or a node that cannot make it; then nothing is left of it.
    pub async fn create_volume(
        &self,
        name: &VolumeName,
        options: VolumeOptions,
        ownership: Option<(u32, u32)>,
        node: Option<&NodeName>,
    ) -> Result<Volume, Refusal> {
        let state = self.state().await?;
        must_be_free(&state, name)?;
        let owner = match node {
            Some(node) => {
                self.check_open(&state, node)?;
                node.clone()
            }
            None => self.roomiest(&state, options.size)?,
        };
        let volume = Volume {
            id: volume_id(),
            name: name.clone(),
            app: None,
            owner: Some(owner.clone()),
            epoch: Epoch::FIRST,
            options,
            ownership,
            replicas: vec![],
            replication: None,
        };
        let (options, owner) = (volume.options.clone(), volume.ownership);
        let order = VolumeOrder { volume: (&volume).into(), options, owner };
        self.make(&volume, Step::CreateVolumes { volumes: vec![order] }).await?;
        Ok(volume)
    }

    /// The copy is written down as left before it is made, and as the volume once it was: whoever dies in between leaves
    /// something that the planner removes.
    pub(super) async fn make(&self, volume: &Volume, how: Step) -> Result<(), Refusal> {
        let cluster = &self.leader.inner.parts.cluster;
        let Some(owner) = &volume.owner else { return Err(no_owner(volume)) };
        let value = left(volume, owner);
        // Until it is decided what it is.
        let _mine = self.leader.occupy(owner, &lock_of(&volume.id));
        let revision = cluster.commit(cluster.change().create(&value)).await?;
        self.tell_owner(volume, how).await?;
        let made = cluster.change().create(volume).remove(&Versioned { value, revision });
        cluster.commit(made).await?;
        Ok(())
    }

    /// Removes a volume for good, wherever there is a copy. The nodes that have one still: one that is away removes it when
    /// it is back.
    ///
    /// # Errors
    /// No such volume, or one that an app uses.
    pub async fn remove_volume(&self, name: &VolumeName) -> Result<Vec<NodeName>, Refusal> {
        let mut holders = BTreeSet::new();
        let mut keys = BTreeMap::new();
        // The record goes first, and with it the chance that an app is deployed on data that is being removed.
        self.attempt(|state| {
            let known = find(state, name)?;
            let volume = &known.value;
            if let Some(app) = user(state, volume) {
                return Err(Refusal::new(
                    "volume-in-use",
                    format!("app `{app}` uses volume `{name}`"),
                )
                .hint(format!(
                    "`flocker app rm {app} --volumes` removes an app and its own volumes"
                )));
            }
            holders = self.leader.inner.nodes.holders(&volume.id);
            holders.extend(volume.replicas.iter().map(|r| r.node.clone()));
            holders.extend(volume.owner.clone());
            // Any node may have a copy from a move that was undone.
            let left: Vec<_> = state.nodes.keys().map(|node| left(volume, node)).collect();
            keys = left.iter().map(|l| (l.node.clone(), l.key())).collect();
            let changes = self.leader.inner.parts.cluster.change().remove(known);
            Ok(Some(left.iter().fold(changes, |changes, gone| changes.put(gone))))
        })
        .await?;
        self.leader.wake();
        let is_left = |state: &State, node: &NodeName| {
            keys.get(node).is_some_and(|key| state.leftovers.contains_key(key))
        };
        // Whoever frees space wants it free when told so. A node that is away is not waited for.
        let mut followed = self.leader.inner.parts.followed.clone();
        let gone = followed.wait_for(|state| {
            let alive = |node: &&NodeName| self.leader.inner.nodes.alive(node);
            state.as_ref().is_some_and(|s| {
                !s.volumes.contains_key(name) && !keys.keys().filter(alive).any(|n| is_left(s, n))
            })
        });
        drop(tokio::time::timeout(GONE_WITHIN, gone).await);
        let state = self.state().await?;
        holders.retain(|node| is_left(&state, node));
        Ok(holders.into_iter().collect())
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
        if let Some(tag) = &tag
            && let Some(ours) = OWN_SNAPSHOTS.iter().find(|ours| tag.as_str().starts_with(**ours))
        {
            let message =
                format!("snapshots named `{ours}…` are taken and removed by Flocker itself");
            return Err(Refusal::new("invalid-argument", message).hint("choose another `--tag`"));
        }
        if let Some(tag) = &tag
            && self.snapshots(name).await?.iter().any(|taken| taken.point.tag == *tag)
        {
            // Asking again for one that is there is no error of a leader; an operator would take it for a new one.
            return Err(Refusal::new(
                "already-exists",
                format!("volume `{name}` has a snapshot `{tag}` already"),
            )
            .hint(format!(
                "`flocker volume snapshots {name}` lists them; choose another `--tag`"
            )));
        }
        let tag =
            tag.map_or(named, Ok).map_err(|e| Refusal::new("invalid-argument", e.to_string()))?;
        let step = Step::Snapshot { volumes: vec![(&known.value).into()], tag };
        let mut taken = self.tell_for_snapshots(&known.value, step).await?;
        taken.pop().ok_or_else(|| {
            Refusal::new("internal", format!("the node took no snapshot of volume `{name}`"))
        })
    }

    /// Why something that should be done about a volume is not, if so.
    #[must_use]
    pub fn volume_trouble(&self, volume: &Volume) -> Option<String> {
        self.leader.snapshot_trouble(&volume.id)
    }

    /// The snapshots of the owner's copy, oldest first.
    ///
    /// # Errors
    /// No such volume, or an owner that does not answer.
    pub async fn snapshots(&self, name: &VolumeName) -> Result<Vec<Snapshot>, Refusal> {
        let state = self.state().await?;
        let known = find(&state, name)?;
        let step = Step::ListSnapshots { volume: (&known.value).into() };
        self.tell_for_snapshots(&known.value, step).await
    }

    /// The copies of a volume that nodes reported last, each with its newest snapshot where its node says it in time.
    ///
    /// # Errors
    /// When there is no such volume.
    pub async fn copies(&self, name: &VolumeName) -> Result<(Volume, Vec<Copy>), Refusal> {
        let state = self.state().await?;
        let volume = &find(&state, name)?.value;
        let on = |node: &NodeName| {
            let copies = self.seen(node)?.observation.volumes?;
            Some((node.clone(), copies.into_iter().find(|copy| copy.id == volume.id)?))
        };
        let asked = state.nodes.keys().filter_map(on).map(async |(node, state)| {
            let step = Step::ListSnapshots { volume: volume.into() };
            let listed = tokio::time::timeout(GLANCE, self.tell_node(volume, &node, step)).await;
            let listed = listed.ok().and_then(Result::ok).and_then(|r| snapshots_in(r).ok());
            Copy { node, state, newest: listed.and_then(|mut listed| listed.pop()) }
        });
        let copies = futures::future::join_all(asked).await;
        Ok((volume.clone(), copies))
    }

    pub(super) async fn tell_for_snapshots(
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
            let seen = self.seen(name).filter(Seen::alive)?;
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

    pub(super) async fn tell_owner(&self, volume: &Volume, step: Step) -> Result<Reply, Refusal> {
        match &volume.owner {
            Some(owner) => self.tell_node(volume, owner, step).await,
            None => Err(no_owner(volume)),
        }
    }

    async fn tell_node(
        &self,
        volume: &Volume,
        node: &NodeName,
        step: Step,
    ) -> Result<Reply, Refusal> {
        let (operation, _): (OperationId, u64) = draw();
        let revision = self.state().await?.revision;
        let (app, epoch) = (lock_of(&volume.id), Epoch(u64::MAX));
        let order = Leader::order(&operation, &app, epoch, revision, step);
        Ok(self.leader.tell(node, order).await?)
    }
}

/// The app that uses the volume, or has it in its manifest and is about to.
pub(super) fn user(state: &State, volume: &Volume) -> Option<AppName> {
    let wants = |app: &&App| app.volumes.iter().any(|spec| *spec.name() == volume.name);
    let named = state.manifests.values().map(|app| &**app).find(wants);
    volume.app.clone().or_else(|| named.map(|app| app.name.clone()))
}

pub(super) fn no_owner(volume: &Volume) -> Refusal {
    Refusal::new("no-candidate", format!("volume `{}` has no node yet", volume.name))
}

/// A node's copy of the volume, as nobody's.
fn left(volume: &Volume, node: &NodeName) -> Leftover {
    let Volume { id, name, epoch, .. } = volume.clone();
    Leftover { node: node.clone(), what: Left::Volume { id, name, epoch } }
}

pub(super) fn must_be_free(state: &State, name: &VolumeName) -> Result<(), Refusal> {
    if state.volumes.contains_key(name) {
        let message = format!("there is a volume `{name}` already");
        return Err(Refusal::new("already-exists", message));
    }
    Ok(())
}

pub(super) fn find<'a>(
    state: &'a State,
    name: &VolumeName,
) -> Result<&'a Versioned<Volume>, Refusal> {
    state.volumes.get(name).ok_or_else(|| {
        Refusal::new("volume-not-found", format!("there is no volume `{name}`"))
            .hint("`flocker volume ls` lists the volumes")
    })
}
