//! Takes the snapshots that policies find due, and removes those that all of them let go.
//!
//! Only snapshots whose names are made here are touched. What was taken when is read from these names on the nodes, not
//! written down elsewhere: a snapshot that an operator removed is gone, a leader that has just begun knows what the one
//! before it knew, and nodes whose clocks differ do not confuse the schedule.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::PoisonError,
    time::Duration,
};

use flocker_model::{Point, Snapshot, SnapshotTag, Timestamp, Volume, VolumeId};
use flocker_planner::{
    Copied, Due,
    backups::SNAPSHOT,
    plan::snapshots::{Taken, Wanted, prunable, wanted},
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

/// While a volume has as many snapshots as it may, policies are asked this often what may go: their answers change with
/// time, and with the policies themselves.
const ROOM_EVERY: Duration = HORIZON;

/// What is known of each volume's snapshots by schedule.
type Known = BTreeMap<VolumeId, Listed>;

/// As they were listed last.
#[derive(Debug, Clone, Copy)]
struct Listed {
    /// `None`: there is none.
    taken: Option<Taken>,
    /// When.
    at: Timestamp,
}

impl Leader {
    /// Takes and removes snapshots until cancelled.
    pub(super) async fn keep_snapshots(self, stop: CancellationToken) {
        let (mut known, mut idle) = (Known::new(), String::new());
        loop {
            let pause = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                pause = self.snapshot_round(&mut known, &mut idle) => pause,
            };
            self.tell_full(&known);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Returns when to look again.
    async fn snapshot_round(&self, known: &mut Known, idle: &mut String) -> Duration {
        let state = self.inner.parts.followed.borrow().clone();
        let Some(state) = state.filter(|state| self.inner.nodes.all_heard(state)) else {
            return Duration::from_secs(1);
        };
        let Some(mut wanted) = self.ask_schedule(&state, known).await else {
            known.clear();
            return HORIZON;
        };
        if self.learn(&state, &wanted, known).await {
            match self.ask_schedule(&state, known).await {
                Some(again) => wanted = again,
                None => return HORIZON,
            }
        }
        for failed in &wanted.failures {
            tracing::warn!(policy = %failed.policy, class = %failed.failure.class, "the built-in schedule stands in: {}", failed.failure.message);
        }
        let idle_now = idle_lanes(&wanted);
        if !idle_now.is_empty() && idle_now != *idle {
            tracing::warn!(
                "policies that answer `backup-schedule` want lanes that nothing is done for: {idle_now}"
            );
        }
        *idle = idle_now;
        let now = self.inner.parts.clock.now();
        let mut pause = wanted.ask_again.min(HORIZON);
        let mut ready = vec![];
        for (volume, due) in named(&state, &wanted) {
            if due.at > now {
                pause = pause.min(due.at.since(now));
            } else if known.contains_key(&volume.id) {
                // What could not be listed may have been taken already, so it is not among these.
                ready.push((volume, Some(due)));
            }
        }
        let is_time = |id: &VolumeId| known.get(id).is_some_and(|l| now.since(l.at) >= ROOM_EVERY);
        let full = wanted.full.iter().filter(|id| is_time(id));
        ready.extend(full.filter_map(|id| Some((volume_of(&state, id)?, None))));
        let done = ready.into_iter().map(async |(volume, due)| {
            let listed = match due {
                Some(due) => self.take(&state, volume, due).await,
                None => self.make_room(&state, volume).await,
            };
            (&volume.id, listed)
        });
        let done: Vec<_> = done.collect();
        let done: Vec<_> = stream::iter(done).buffer_unordered(AT_ONCE).collect().await;
        for (id, listed) in done {
            match listed {
                Some(listed) => drop(known.insert(id.clone(), listed)),
                // The answer may only have come too late: what is there is listed again first.
                None => drop(known.remove(id)),
            }
        }
        pause.max(Duration::from_secs(1))
    }

    /// Lets operators know which volumes have as many snapshots as they may.
    fn tell_full(&self, known: &Known) {
        let settings = &self.inner.parts.settings;
        let full = known.iter().filter_map(|(id, listed)| {
            Some((id.clone(), listed.taken.as_ref()?.trouble(settings)?))
        });
        let full: BTreeMap<_, _> = full.collect();
        let mut told = self.inner.full.lock().unwrap_or_else(PoisonError::into_inner);
        for (id, trouble) in full.iter().filter(|(id, _)| !told.contains_key(*id)) {
            tracing::warn!(volume = %id, "{trouble}");
        }
        *told = full;
    }

    /// Why no further snapshots of a volume are taken by schedule, if so.
    pub(crate) fn snapshot_trouble(&self, volume: &VolumeId) -> Option<String> {
        self.inner.full.lock().unwrap_or_else(PoisonError::into_inner).get(volume).cloned()
    }

    /// On a thread of its own, as policies may use their whole budget of time.
    async fn ask_schedule(&self, state: &State, known: &Known) -> Option<Wanted> {
        let mut world = self.world(state);
        let taken = |(id, listed): (&VolumeId, &Listed)| Some((id.clone(), listed.taken?));
        world.snapshots = known.iter().filter_map(taken).collect();
        let (settings, policies) =
            (self.inner.parts.settings.clone(), self.inner.parts.policies.clone());
        let asked = tokio::task::spawn_blocking(move || {
            wanted(&world, &settings, HORIZON, &*policies, &mut draw)
        });
        asked.await.ok()?
    }

    /// Finds out what is there of volumes that are due and of which nothing is known; says whether that was any.
    async fn learn(&self, state: &State, wanted: &Wanted, known: &mut Known) -> bool {
        known.retain(|id, _| volume_of(state, id).is_some());
        let now = self.inner.parts.clock.now();
        let unknown = named(state, wanted).filter(|(volume, _)| !known.contains_key(&volume.id));
        let asked = unknown.map(async |(volume, _)| match self.by_schedule(state, volume).await {
            Ok(all) => Some((volume.id.clone(), Listed { taken: taken(&all), at: now })),
            Err(error) => {
                tracing::warn!(volume = %volume.name, %error, "its snapshots cannot be listed");
                None
            }
        });
        let asked: Vec<_> = asked.collect();
        let answers: Vec<_> = stream::iter(asked).buffer_unordered(AT_ONCE).collect().await;
        let n_known = known.len();
        known.extend(answers.into_iter().flatten());
        known.len() > n_known
    }

    /// The owner's snapshots by schedule, oldest first, beside what policies are told of them.
    async fn by_schedule(&self, state: &State, volume: &Volume) -> Result<Vec<Kept>, PeerError> {
        let step = Step::ListSnapshots { volume: volume.into() };
        let all = self.tell_owner(state, volume, step).await?;
        let mut copies: Vec<_> = all.into_iter().filter_map(Kept::of).collect();
        copies.sort_by_key(|copy| copy.taken);
        Ok(copies)
    }

    /// Takes a snapshot, and removes what may go then. What is there afterwards, if that is known.
    async fn take(&self, state: &State, volume: &Volume, due: &Due) -> Option<Listed> {
        let now = self.inner.parts.clock.now();
        let step = Step::Snapshot { volumes: vec![volume.into()], tag: tag(now, &due.label) };
        if let Err(error) = self.tell_owner(state, volume, step).await {
            tracing::warn!(volume = %volume.name, %error, "a snapshot by schedule was not taken");
            return None;
        }
        tracing::info!(volume = %volume.name, label = %due.label, "snapshot taken by schedule");
        self.make_room(state, volume).await
    }

    /// Removes what may go. What is there afterwards, if that is known.
    async fn make_room(&self, state: &State, volume: &Volume) -> Option<Listed> {
        let at = self.inner.parts.clock.now();
        let left = self.prune(state, volume).await.inspect_err(|error| {
            tracing::warn!(volume = %volume.name, %error, "old snapshots by schedule stay for now");
        });
        left.ok().map(|taken| Listed { taken, at })
    }

    async fn prune(&self, state: &State, volume: &Volume) -> Result<Option<Taken>, PeerError> {
        let mut all = self.by_schedule(state, volume).await?;
        let copies = all.iter().map(Kept::for_policies).collect();
        let (mut world, id) = (self.world(state), volume.id.clone());
        world.snapshots.extend(taken(&all).map(|taken| (id.clone(), taken)));
        let policies = self.inner.parts.policies.clone();
        let asked = tokio::task::spawn_blocking(move || {
            prunable(&world, &id, copies, &*policies, &mut draw)
        });
        let Ok(decided) = asked.await else { return Ok(taken(&all)) };
        let gone = |copy: &u32| all.get(*copy as usize).map(|copy| copy.snapshot.point.clone());
        let which: Vec<Point> = decided.droppable.keys().filter_map(gone).collect();
        if which.is_empty() {
            return Ok(taken(&all));
        }
        tracing::info!(volume = %volume.name, snapshots = which.len(), "snapshots removed by schedule");
        all.retain(|copy| !which.contains(&copy.snapshot.point));
        let step = Step::DestroySnapshots { volume: volume.into(), which };
        self.tell_owner(state, volume, step).await.map(|_| taken(&all))
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
    let due = wanted.due.iter().filter(|(_, due)| due.lane == SNAPSHOT);
    due.filter_map(move |(id, due)| Some((volume_of(state, id)?, due)))
}

/// Lanes that are wanted and that nothing is done for, some by name; empty where there are none.
fn idle_lanes(wanted: &Wanted) -> String {
    const NAMED: usize = 3;
    let lanes = wanted.due.iter().map(|(_, due)| &due.lane).filter(|lane| *lane != SNAPSHOT);
    let lanes: BTreeSet<_> = lanes.collect();
    let named: Vec<_> = lanes.iter().take(NAMED).map(|lane| format!("`{lane}`")).collect();
    match lanes.len().saturating_sub(NAMED) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

fn volume_of<'a>(state: &'a State, id: &VolumeId) -> Option<&'a Volume> {
    state.volumes.values().map(|v| &v.value).find(|v| v.id == *id)
}

/// What they come to.
fn taken(all: &[Kept]) -> Option<Taken> {
    all.last().map(|newest| Taken { newest: newest.taken, count: all.len() })
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
