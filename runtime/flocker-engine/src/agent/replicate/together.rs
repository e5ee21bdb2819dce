//! Takes the snapshots that are due, and removes those that nobody needs, of all groups together: what storage does once
//! for many volumes is done once, however many there are.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use flocker_model::{Point, SnapshotTag, Volume, VolumeId};
use flocker_planner::replicas::{Command, Failure, GroupId, Last, News, What};
use flocker_ports::VolumeEpoch;
use tokio::time::timeout;

use super::{ANSWER_WITHIN, Done, here, in_time, operation};
use crate::agent::Agent;

/// Clocks of file systems are coarse: what was written so shortly before a snapshot may not be in it.
const COARSE: Duration = Duration::from_secs(2);

/// A group of which a snapshot is due.
struct Due {
    group: GroupId,
    volumes: Vec<Arc<Volume>>,
    tag: SnapshotTag,
    last: Option<Last>,
}

impl Agent {
    /// Takes what was written to since its last snapshot. A group that cannot be taken with the others is left over.
    pub(super) async fn take_together(&self, commands: Vec<Command>) -> Done {
        let due: Vec<Due> = commands.iter().filter_map(Due::of).collect();
        // Where that is not known, a snapshot more does no harm.
        let idle = in_time(self.idle(&due)).await.unwrap_or_default();
        let busy: Vec<&Due> = due.iter().filter(|due| !due.is_idle(&idle)).collect();
        let taken = timeout(ANSWER_WITHIN, self.take(&busy)).await.unwrap_or_default();
        let mut done = Done::default();
        for (due, command) in due.iter().zip(commands) {
            let points = if due.is_idle(&idle) { Some(None) } else { due.points(&taken).map(Some) };
            match points {
                Some(points) => done.news(&due.group, News::Taken { points: Ok(points) }),
                // Something is wrong with a volume, of this group or of another.
                None => done.alone.push(command),
            }
        }
        done
    }

    /// Removes what nobody needs here. What cannot be removed with the rest is left over.
    pub(super) async fn prune_together(&self, commands: Vec<Command>) -> Done {
        let doomed = |command: &Command| {
            let What::Remove { volume, on: None, which } = &command.what else { return None };
            Some(((&**volume).into(), which.clone()))
        };
        let asked: Vec<(VolumeEpoch, Vec<Point>)> = commands.iter().filter_map(doomed).collect();
        let id = operation();
        let pruned = self.inner.parts.backend.destroy_snapshots_together(&id, &asked);
        let Ok(Some(_)) = timeout(ANSWER_WITHIN, pruned).await else {
            return Done { alone: commands, ..Done::default() };
        };
        let mut done = Done::default();
        for (command, (volume, which)) in commands.iter().zip(asked) {
            let news = News::Removed { volume: volume.id, on: None, which, result: Ok(()) };
            done.news(&command.group, news);
        }
        done
    }

    /// The volumes that nobody wrote to since the last snapshot of their group, as far as it reached the disk.
    async fn idle(&self, due: &[Due]) -> Result<BTreeSet<VolumeId>, Failure> {
        let backend = &self.inner.parts.backend;
        let of_due = |due: &'_ Due| {
            let last = due.last.clone();
            let volumes = due.volumes.iter().map(|volume| volume.id.clone());
            volumes.filter_map(move |id| Some((id, last.clone()?))).collect::<Vec<_>>()
        };
        let asked: Vec<(VolumeId, Last)> = due.iter().flat_map(of_due).collect();
        if asked.is_empty() {
            return Ok(BTreeSet::new());
        }
        let since: Vec<_> = asked.iter().map(|(id, last)| (id.clone(), last.tag.clone())).collect();
        let sizes = backend.written_since(&since).await.map_err(here)?;
        let ids: Vec<VolumeId> = asked.iter().map(|(id, _)| id.clone()).collect();
        let moments = backend.written(&ids).await.map_err(here)?;
        let idle = asked.into_iter().zip(sizes).filter(|((id, last), size)| match size {
            Some(size) => size.0 == 0,
            None => moments.get(id).is_some_and(|at| *at + COARSE < last.at),
        });
        Ok(idle.map(|((id, _), _)| id).collect())
    }

    /// One call for all groups of one moment: all, as a rule.
    async fn take(&self, due: &[&Due]) -> BTreeMap<(VolumeId, SnapshotTag), Point> {
        let mut by_tag: BTreeMap<&SnapshotTag, Vec<VolumeEpoch>> = BTreeMap::new();
        for due in due {
            let volumes = due.volumes.iter().map(|volume| (&**volume).into());
            by_tag.entry(&due.tag).or_default().extend(volumes);
        }
        let calls = by_tag.into_iter().map(async |(tag, volumes)| {
            let backend = &self.inner.parts.backend;
            let taken = backend.snapshot_together(&operation(), &volumes, tag).await;
            let taken = taken.unwrap_or_default().into_iter().map(|snapshot| snapshot.point);
            let keys = volumes.into_iter().map(|volume| (volume.id, tag.clone()));
            keys.zip(taken).collect::<Vec<_>>()
        });
        futures::future::join_all(calls).await.into_iter().flatten().collect()
    }

    /// The snapshots of one group.
    pub(super) async fn take_alone(
        &self,
        volumes: &[Arc<Volume>],
        tag: &SnapshotTag,
    ) -> Result<Vec<(VolumeId, Point)>, Failure> {
        let volumes: Vec<VolumeEpoch> = volumes.iter().map(|v| (&**v).into()).collect();
        let taken = self.take_snapshots(&operation(), &volumes, tag).await.map_err(here)?;
        let ids = volumes.into_iter().map(|volume| volume.id);
        Ok(ids.zip(taken.into_iter().map(|snapshot| snapshot.point)).collect())
    }
}

impl Due {
    fn of(command: &Command) -> Option<Self> {
        let What::Take { volumes, tag, unless_idle_since } = &command.what else { return None };
        let (group, volumes, tag) = (command.group.clone(), volumes.clone(), tag.clone());
        Some(Self { group, volumes, tag, last: unless_idle_since.clone() })
    }

    fn is_idle(&self, idle: &BTreeSet<VolumeId>) -> bool {
        self.volumes.iter().all(|volume| idle.contains(&volume.id))
    }

    /// The snapshots of all its volumes, where all were taken.
    fn points(
        &self,
        taken: &BTreeMap<(VolumeId, SnapshotTag), Point>,
    ) -> Option<Vec<(VolumeId, Point)>> {
        let point = |volume: &Arc<Volume>| {
            let key = (volume.id.clone(), self.tag.clone());
            Some((volume.id.clone(), taken.get(&key)?.clone()))
        };
        self.volumes.iter().map(point).collect()
    }
}
