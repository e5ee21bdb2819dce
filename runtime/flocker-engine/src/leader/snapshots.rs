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
use flocker_ports::{PeerError, PeerErrorKind, Step};
use futures::{StreamExt as _, stream};
use tokio_util::sync::CancellationToken;

use super::{Leader, draw, snapshots_in};
use crate::cluster::State;

/// How far ahead is asked, and how often at the least: a policy that is loaded later is heard within this time.
const HORIZON: Duration = Duration::from_mins(1);

/// Volumes that are worked on at once: one that hangs must not hold up the others.
const AT_ONCE: usize = 8;

/// A node that hangs with a volume and still says that it is well is given up after this time; it is asked again later.
const DONE_WITHIN: Duration = Duration::from_mins(1);

/// What begins the names of snapshots by schedule; the leader's time in milliseconds and the label follow.
pub(super) const PREFIX: &str = "auto-";

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
        let mut ready = vec![];
        for (volume, due) in named(&state, &wanted) {
            if due.at > now {
                pause = pause.min(due.at.since(now));
            } else if due.lane != SNAPSHOT {
                tracing::warn!(volume = %volume.name, lane = %due.lane, "a policy wants what this node cannot do");
            } else if taken.contains_key(&volume.id) {
                // What could not be listed may have been taken already, so it is not among these.
                ready.push(async { (&volume.id, self.take(&state, volume, due).await) });
            }
        }
        let done: Vec<_> = stream::iter(ready).buffer_unordered(AT_ONCE).collect().await;
        for (id, at) in done {
            match at {
                Some(at) => drop(taken.insert(id.clone(), Some(at))),
                // The answer may only have come too late: what is there is listed again first.
                None => drop(taken.remove(id)),
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
        let unknown = named(state, wanted).filter(|(volume, _)| !taken.contains_key(&volume.id));
        let asked = unknown.map(async |(volume, _)| match self.by_schedule(state, volume).await {
            Ok(all) => Some((volume.id.clone(), all.last().map(|copy| copy.taken))),
            Err(error) => {
                tracing::warn!(volume = %volume.name, %error, "its snapshots cannot be listed");
                None
            }
        });
        let asked: Vec<_> = asked.collect();
        let answers: Vec<_> = stream::iter(asked).buffer_unordered(AT_ONCE).collect().await;
        let n_known = taken.len();
        taken.extend(answers.into_iter().flatten());
        taken.len() > n_known
    }

    /// The owner's snapshots by schedule, oldest first, beside what policies are told of them.
    async fn by_schedule(&self, state: &State, volume: &Volume) -> Result<Vec<Kept>, PeerError> {
        let step = Step::ListSnapshots { volume: volume.into() };
        let all = self.tell_owner(state, volume, step).await?;
        let mut copies: Vec<_> = all.into_iter().filter_map(Kept::of).collect();
        copies.sort_by_key(|copy| copy.taken);
        Ok(copies)
    }

    /// Takes a snapshot, and removes what may go then. When it was taken, if it was.
    async fn take(&self, state: &State, volume: &Volume, due: &Due) -> Option<Timestamp> {
        let now = self.inner.parts.clock.now();
        let step = Step::Snapshot { volumes: vec![volume.into()], tag: tag(now, &due.label) };
        if let Err(error) = self.tell_owner(state, volume, step).await {
            tracing::warn!(volume = %volume.name, %error, "a snapshot by schedule was not taken");
            return None;
        }
        tracing::info!(volume = %volume.name, label = %due.label, "snapshot taken by schedule");
        if let Err(error) = self.prune(state, volume).await {
            tracing::warn!(volume = %volume.name, %error, "old snapshots by schedule stay for now");
        }
        Some(now)
    }

    async fn prune(&self, state: &State, volume: &Volume) -> Result<(), PeerError> {
        let all = self.by_schedule(state, volume).await?;
        let copies = all.iter().map(Kept::for_policies).collect();
        let (mut world, id) = (self.world(state), volume.id.clone());
        world.snapshots.extend(all.last().map(|copy| (id.clone(), copy.taken)));
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
        let step = Step::DestroySnapshots { volume: volume.into(), which };
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
        match tokio::time::timeout(DONE_WITHIN, self.tell(owner, order)).await {
            Ok(reply) => Ok(snapshots_in(reply?).unwrap_or_default()),
            Err(_) => Err(PeerError {
                node: owner.clone(),
                kind: PeerErrorKind::Retry,
                message: format!("it did not end this within {} s", DONE_WITHIN.as_secs()),
            }),
        }
    }
}

/// The volumes that are due, and what is.
fn named<'a>(state: &'a State, wanted: &'a Wanted) -> impl Iterator<Item = (&'a Volume, &'a Due)> {
    let volume = |id: &VolumeId| state.volumes.values().map(|v| &v.value).find(|v| v.id == *id);
    wanted.due.iter().filter_map(move |(id, due)| Some((volume(id)?, due)))
}

/// The name of a snapshot by schedule. What a tag cannot hold of the label is left out.
fn tag(taken: Timestamp, label: &str) -> SnapshotTag {
    let label = label.to_ascii_lowercase();
    let kept: String = label.chars().filter(char::is_ascii_alphanumeric).take(32).collect();
    let dash = if kept.is_empty() { "" } else { "-" };
    #[expect(
        clippy::expect_used,
        reason = "it begins with a letter, is short, and has no other characters"
    )]
    SnapshotTag::new(format!("{PREFIX}{}{dash}{kept}", taken.0)).expect("it is a valid tag")
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
