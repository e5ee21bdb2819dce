//! Where replicas are to be, and how far they are: policies choose the nodes, and what owners report is written down, for
//! those who will have to decide when an owner is gone.

use std::{collections::BTreeSet, time::Duration};

use flocker_model::{NodeName, Replica, Timestamp, Volume};
use flocker_planner::plan::replicas::{Choice, choose};
use flocker_ports::ReplicaSeen;
use tokio_util::sync::CancellationToken;

use super::{Leader, draw};
use crate::cluster::{State, Versioned};

/// How often is looked.
const ROUND: Duration = Duration::from_secs(1);

/// A replica that goes on holding everything is written down again after this time: each record costs a transaction, and
/// whoever reads it may count on no more.
const NOTED_EVERY: Duration = Duration::from_secs(30);

impl Leader {
    /// Chooses nodes and notes down what owners report, until cancelled.
    pub(super) async fn keep_replicas(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.replica_round() => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(ROUND) => {}
            }
        }
    }

    async fn replica_round(&self) {
        let state = self.inner.parts.followed.borrow().clone();
        let Some(state) = state.filter(|state| self.inner.nodes.all_heard(state)) else { return };
        let mut changed: Vec<Versioned<Volume>> = self.chosen(&state).await;
        for known in state.volumes.values() {
            let begun = changed.iter_mut().find(|volume| volume.value.id == known.value.id);
            match begun {
                Some(volume) => drop(self.note(&mut volume.value)),
                None => {
                    let mut volume = known.clone();
                    if self.note(&mut volume.value) {
                        changed.push(volume);
                    }
                }
            }
        }
        for volume in changed {
            let cluster = &self.inner.parts.cluster;
            let changes = cluster.change().replace(volume.revision, &volume.value);
            match cluster.commit(changes).await {
                Ok(_) => {}
                // It is looked at again.
                Err(error) if error.is_conflict() => {}
                Err(error) => {
                    tracing::warn!(volume = %volume.value.name, %error, "how its replicas are is not written down yet");
                }
            }
        }
    }

    /// The volumes whose replicas are to be on other nodes than before. On a thread of its own, as policies may use their
    /// whole budget of time.
    async fn chosen(&self, state: &State) -> Vec<Versioned<Volume>> {
        let (world, policies) = (self.world(state), self.inner.parts.policies.clone());
        let asked = tokio::task::spawn_blocking(move || choose(&world, &*policies, &mut draw));
        let choices = asked.await.unwrap_or_default();
        let changed = choices.into_iter().filter_map(|Choice { volume, nodes }| {
            let mut known = state.volumes.get(&volume)?.clone();
            let names: Vec<_> = nodes.iter().map(NodeName::as_str).collect();
            tracing::info!(%volume, nodes = names.join(", "), "nodes were chosen for its replicas");
            known.value.replication.as_mut()?.chosen = nodes;
            Some(known)
        });
        changed.collect()
    }

    /// Takes over what the owner says of its replicas; says whether that is worth writing down.
    fn note(&self, volume: &mut Volume) -> bool {
        let owner = volume.owner.as_ref().and_then(|owner| self.inner.nodes.of(owner));
        let Some(seen) = owner.filter(super::Seen::alive) else { return false };
        let receivers: BTreeSet<NodeName> = volume.receivers().cloned().collect();
        let mut changed = false;
        for replica in &seen.observation.replicas {
            if replica.volume != volume.id || !receivers.contains(&replica.node) {
                continue;
            }
            changed |= note_one(volume, replica, self.inner.parts.clock.now());
        }
        changed
    }
}

fn note_one(volume: &mut Volume, seen: &ReplicaSeen, now: Timestamp) -> bool {
    let Some(at) = &seen.at else { return false };
    let taken = seen.behind.map(|behind| Timestamp(now.0.saturating_sub(millis(behind))));
    let known = volume.replicas.iter_mut().find(|replica| replica.node == seen.node);
    match known {
        Some(known) => {
            let older = |taken: Timestamp| known.taken.is_none_or(|k| taken >= k + NOTED_EVERY);
            if known.guid == at.guid && !taken.is_some_and(older) {
                return false;
            }
            let moved = known.guid != at.guid;
            (known.tag, known.guid) = (at.tag.clone(), at.guid.clone());
            // It holds no less than it did.
            known.taken = known.taken.max(taken);
            moved || taken.is_some()
        }
        None => {
            let (tag, guid) = (at.tag.clone(), at.guid.clone());
            volume.replicas.push(Replica { node: seen.node.clone(), tag, guid, taken });
            true
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
