//! Snapshots by schedule: which volumes are due, and which snapshots may go. Only about volumes that nobody works with.

use std::time::Duration;

use flocker_model::{AppState, Timestamp, Volume, VolumeId};

use super::{Draw, Settings, World};
use crate::{
    Copied, Due, Policies, PruneQuestion, ScheduleQuestion,
    backups::{self, PruneDecision, SNAPSHOT},
    policies::Failed,
    view::View,
};

/// What there is of a volume's snapshots by schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// When the newest was taken.
    pub newest: Timestamp,
    /// How many there are.
    pub count: usize,
}

impl Taken {
    /// Why no further one is taken, if so.
    #[must_use]
    pub fn trouble(&self, settings: &Settings) -> Option<String> {
        (self.count >= settings.snapshots_max).then(|| {
            format!(
                "it has {} snapshots by schedule, and may have {}: none is taken until policies let some go; `flocker plugin ls` lists those that answer `backup-schedule`, and one of them keeps too many",
                self.count, settings.snapshots_max
            )
        })
    }
}

/// What is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Per volume and lane at most once.
    pub due: Vec<(VolumeId, Due)>,
    /// Volumes of which a snapshot is due, but which have as many as they may: policies are to say what may go.
    pub full: Vec<VolumeId>,
    /// When to ask again.
    pub ask_again: Duration,
    /// Policies whose answers could not be used.
    pub failures: Vec<Failed>,
}

/// Asks what is due within the horizon; `None` when there is no policy for it, and then nothing is.
#[must_use]
pub fn wanted(
    world: &World,
    settings: &Settings,
    horizon: Duration,
    policies: &dyn Policies,
    draw: Draw<'_>,
) -> Option<Wanted> {
    let view = View::of(world);
    let (decision, seed) = draw();
    let rows = (0..).zip(&world.volumes).filter(|(_, volume)| is_free(world, volume));
    let volumes = rows.map(|(row, _)| row).collect();
    let question = ScheduleQuestion { decision, seed, volumes, horizon };
    let answers = policies.schedule(&view.cluster, &question);
    if answers.is_empty() {
        return None;
    }
    let decided = backups::decide_schedule(&view.cluster, &question, answers);
    let named = |due: Due| Some((world.volumes.get(due.volume as usize)?.id.clone(), due));
    let is_full = |(id, due): &(VolumeId, Due)| {
        let taken = world.snapshots.get(id).filter(|_| due.lane == SNAPSHOT);
        taken.is_some_and(|taken| taken.trouble(settings).is_some())
    };
    let (full, due): (Vec<_>, Vec<_>) =
        decided.due.into_iter().filter_map(named).partition(is_full);
    Some(Wanted {
        due,
        full: full.into_iter().filter(|(_, d)| d.at <= world.now).map(|(id, _)| id).collect(),
        ask_again: decided.ask_again,
        failures: decided.consultation.failures,
    })
}

/// Asks which of a volume's snapshots by schedule may go, oldest first.
#[must_use]
pub fn prunable(
    world: &World,
    volume: &VolumeId,
    copies: Vec<Copied>,
    policies: &dyn Policies,
    draw: Draw<'_>,
) -> PruneDecision {
    let row = world.volumes.iter().position(|v| v.id == *volume);
    let Some(row) = row.and_then(|row| u32::try_from(row).ok()) else {
        return PruneDecision::default();
    };
    let (decision, seed) = draw();
    let lane = SNAPSHOT.to_owned();
    let question = PruneQuestion { decision, seed, volume: row, lane, copies };
    let view = View::of(world);
    let answers = policies.prune(&view.cluster, &question);
    backups::decide_prune(&question, answers)
}

/// Whether its owner answers, and no operation works with it.
fn is_free(world: &World, volume: &Volume) -> bool {
    let alive = volume.owner.as_ref().and_then(|n| world.nodes.get(n)).is_some_and(|n| n.alive);
    let idle = volume.app.as_ref().is_none_or(|name| {
        let app = world.apps.get(name);
        app.is_some_and(|(app, _)| app.operation.is_none() && app.state == AppState::Deployed)
    });
    alive && idle
}
