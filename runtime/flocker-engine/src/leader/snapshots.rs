//! Takes the snapshots that policies find due, and removes those that all of them let go.
//!
//! Only snapshots whose names are made here are touched. What was taken when is read from these names on the nodes, not
//! written down elsewhere: a snapshot that an operator removed is gone, a leader that has just begun knows what the one
//! before it knew, and nodes whose clocks differ do not confuse the schedule.

use std::{collections::BTreeMap, time::Duration};

use flocker_model::{Point, Snapshot, SnapshotTag, Timestamp, Volume, VolumeId};
use flocker_planner::{
    Copied, Due,
    backups::SNAPSHOT,
    plan::snapshots::{Wanted, prunable, wanted},
};
use flocker_ports::{PeerError, Step, VolumeEpoch};
use tokio_util::sync::CancellationToken;

use super::{Leader, draw, snapshots_in};
use crate::cluster::State;

/// How far ahead is asked, and how often at the least: a policy that is loaded later is heard within this time.
const HORIZON: Duration = Duration::from_mins(1);

/// What begins the names of snapshots by schedule; the leader's time in milliseconds and the label follow.
const PREFIX: &str = "auto-";

/// When the newest snapshot by schedule of each volume was taken; `None`: there is none.
type Taken = BTreeMap<VolumeId, Option<Timestamp>>;

impl Leader {
    /// Takes and removes snapshots until cancelled.
    pub(super) async fn keep_snapshots(self, stop: CancellationToken) {
        let mut taken = Taken::new();
        loop {
            let pause = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                pause = self.snapshot_round(&mut taken) => pause,
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Returns when to look again.
    async fn snapshot_round(&self, taken: &mut Taken) -> Duration {
        let state = self.inner.parts.followed.borrow().clone();
        let Some(state) = state.filter(|state| self.inner.nodes.all_heard(state)) else {
            return Duration::from_secs(1);
        };
        let Some(mut wanted) = self.ask_schedule(&state, taken).await else { return HORIZON };
        if self.learn(&state, &wanted, taken).await {
            match self.ask_schedule(&state, taken).await {
                Some(again) => wanted = again,
                None => return HORIZON,
            }
        }
        for failed in &wanted.failures {
            tracing::warn!(policy = %failed.policy, class = %failed.failure.class, "the built-in schedule stands in: {}", failed.failure.message);
        }
        let now = self.inner.parts.clock.now();
        let mut pause = wanted.ask_again.min(HORIZON);
        for (id, due) in wanted.due {
            let Some(volume) = state.volumes.values().find(|v| v.value.id == id) else { continue };
            if due.at > now {
                pause = pause.min(due.at.since(now));
            } else if due.lane == SNAPSHOT {
                if let Err(error) = self.take(&state, &volume.value, &due, taken).await {
                    tracing::warn!(volume = %volume.value.name, %error, "a snapshot by schedule was not taken");
                }
            } else {
                tracing::warn!(volume = %volume.value.name, lane = %due.lane, "a policy wants what this node cannot do");
            }
        }
        pause.max(Duration::from_secs(1))
    }

    /// On a thread of its own, as policies may use their whole budget of time.
    async fn ask_schedule(&self, state: &State, taken: &Taken) -> Option<Wanted> {
        let mut world = self.world(state);
        world.snapshots = taken.iter().filter_map(|(id, at)| Some((id.clone(), (*at)?))).collect();
        let policies = self.inner.parts.policies.clone();
        let asked =
            tokio::task::spawn_blocking(move || wanted(&world, HORIZON, &*policies, &mut draw));
        asked.await.ok()?
    }

    /// Finds out what is there of volumes that are due and of which nothing is known; says whether that was any.
    async fn learn(&self, state: &State, wanted: &Wanted, taken: &mut Taken) -> bool {
        taken.retain(|id, _| state.volumes.values().any(|v| v.value.id == *id));
        let mut learned = false;
        for (id, _) in &wanted.due {
            let Some(volume) = state.volumes.values().find(|v| v.value.id == *id) else { continue };
            if taken.contains_key(id) {
                continue;
            }
            match self.by_schedule(state, &volume.value).await {
                Ok(all) => {
                    taken.insert(id.clone(), all.iter().map(|copy| copy.taken).max());
                    learned = true;
                }
                Err(error) => {
                    tracing::warn!(volume = %volume.value.name, %error, "its snapshots cannot be listed");
                }
            }
        }
        learned
    }

    /// The owner's snapshots by schedule, oldest first, beside what policies are told of them.
    async fn by_schedule(&self, state: &State, volume: &Volume) -> Result<Vec<Kept>, PeerError> {
        let step = Step::ListSnapshots { volume: epoch_of(volume) };
        let all = self.tell_owner(state, volume, step).await?;
        let mut copies: Vec<_> = all.into_iter().filter_map(Kept::of).collect();
        copies.sort_by_key(|copy| copy.taken);
        Ok(copies)
    }

    async fn take(
        &self,
        state: &State,
        volume: &Volume,
        due: &Due,
        taken: &mut Taken,
    ) -> Result<(), PeerError> {
        let now = self.inner.parts.clock.now();
        let Ok(tag) = SnapshotTag::new(format!("{PREFIX}{}{}", now.0, suffix(&due.label))) else {
            return Ok(());
        };
        let step = Step::Snapshot { volumes: vec![epoch_of(volume)], tag };
        self.tell_owner(state, volume, step).await?;
        taken.insert(volume.id.clone(), Some(now));
        tracing::info!(volume = %volume.name, label = %due.label, "snapshot taken by schedule");
        self.prune(state, volume).await
    }

    async fn prune(&self, state: &State, volume: &Volume) -> Result<(), PeerError> {
        let all = self.by_schedule(state, volume).await?;
        let copies = all.iter().map(Kept::for_policies).collect();
        let (world, id) = (self.world(state), volume.id.clone());
        let policies = self.inner.parts.policies.clone();
        let asked = tokio::task::spawn_blocking(move || {
            prunable(&world, &id, copies, &*policies, &mut draw)
        });
        let Ok(decided) = asked.await else { return Ok(()) };
        let gone = |copy: &u32| all.get(*copy as usize).map(|copy| copy.snapshot.point.clone());
        let which: Vec<Point> = decided.droppable.keys().filter_map(gone).collect();
        if which.is_empty() {
            return Ok(());
        }
        tracing::info!(volume = %volume.name, snapshots = which.len(), "snapshots removed by schedule");
        let step = Step::DestroySnapshots { volume: epoch_of(volume), which };
        self.tell_owner(state, volume, step).await.map(drop)
    }

    /// The snapshots that the owner answers with; none for steps that answer without.
    async fn tell_owner(
        &self,
        state: &State,
        volume: &Volume,
        step: Step,
    ) -> Result<Vec<Snapshot>, PeerError> {
        let Some(owner) = &volume.owner else { return Ok(vec![]) };
        let lock = super::upkeep::lock_of(&volume.id);
        let order =
            Self::order(&draw().0, &lock, flocker_model::Epoch(u64::MAX), state.revision, step);
        Ok(snapshots_in(self.tell(owner, order).await?).unwrap_or_default())
    }
}

fn epoch_of(volume: &Volume) -> VolumeEpoch {
    VolumeEpoch { id: volume.id.clone(), epoch: volume.epoch }
}

/// A label as part of a tag: what a tag cannot hold is left out.
fn suffix(label: &str) -> String {
    let kept: String = label.chars().filter(char::is_ascii_alphanumeric).take(32).collect();
    if kept.is_empty() { kept } else { format!("-{kept}") }
}

/// A snapshot whose name was made here.
struct Kept {
    snapshot: Snapshot,
    taken: Timestamp,
    label: String,
}

impl Kept {
    fn of(snapshot: Snapshot) -> Option<Self> {
        let named = snapshot.point.tag.as_str().strip_prefix(PREFIX)?;
        let (taken, label) = named.split_once('-').unwrap_or((named, ""));
        let (taken, label) = (Timestamp(taken.parse().ok()?), label.to_owned());
        Some(Self { snapshot, taken, label })
    }

    fn for_policies(&self) -> Copied {
        Copied {
            tag: self.snapshot.point.tag.to_string(),
            taken: self.taken,
            label: self.label.clone(),
            bytes: self.snapshot.referenced.0,
        }
    }
}
