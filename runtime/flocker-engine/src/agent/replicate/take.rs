//! Takes the snapshots that are due, of all groups together: what storage does once for many volumes is done once, however
//! many there are. One that fails fails alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use flocker_model::{Epoch, Point, SnapshotTag, Volume, VolumeId};
use flocker_planner::replicas::{Command, Event, Failure, GroupId, Last, News, What};
use flocker_ports::{Op, VolumeEpoch};
use tokio::time::timeout;

use super::{ANSWER_WITHIN, here, in_time, operation, text};
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
    /// Takes what was written to since its last snapshot. Answers for every group.
    pub(super) async fn take_all(&self, commands: Vec<Command>) -> Vec<Event> {
        let due: Vec<Due> = commands.into_iter().filter_map(Due::of).collect();
        // Where that is not known, a snapshot more does no harm.
        let idle = in_time(self.idle(&due)).await.unwrap_or_default();
        let busy: Vec<&Due> = due.iter().filter(|due| !due.is_idle(&idle)).collect();
        let together = timeout(ANSWER_WITHIN, self.take_together(&busy)).await.unwrap_or_default();
        let each = due.iter().map(async |due| {
            let points = if due.is_idle(&idle) {
                Ok(None)
            } else if let Some(points) = due.points(&together) {
                Ok(Some(points))
            } else {
                // Something is wrong with a volume, of this group or of another.
                in_time(self.take_alone(due)).await.map(Some)
            };
            let news = News::Taken { points: points.map_err(|failure| text(&failure)) };
            Event { group: due.group.clone(), news }
        });
        futures::future::join_all(each).await
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

    /// One call for all volumes of one epoch.
    async fn take_together(&self, due: &[&Due]) -> BTreeMap<(VolumeId, SnapshotTag), Point> {
        let mut by_epoch: BTreeMap<(Epoch, &SnapshotTag), Vec<VolumeId>> = BTreeMap::new();
        for due in due {
            for volume in &due.volumes {
                by_epoch.entry((volume.epoch, &due.tag)).or_default().push(volume.id.clone());
            }
        }
        let calls = by_epoch.into_iter().map(async |((epoch, tag), ids)| {
            let op = Op { id: operation(), epoch };
            let taken = self.inner.parts.backend.snapshot(&op, &ids, tag).await;
            // Whoever is not in the answer is tried alone, and that says why.
            let taken = taken.unwrap_or_default().into_iter().map(|snapshot| snapshot.point);
            ids.into_iter().map(|id| (id, tag.clone())).zip(taken).collect::<Vec<_>>()
        });
        futures::future::join_all(calls).await.into_iter().flatten().collect()
    }

    async fn take_alone(&self, due: &Due) -> Result<Vec<(VolumeId, Point)>, Failure> {
        let volumes: Vec<VolumeEpoch> = due.volumes.iter().map(|v| (&**v).into()).collect();
        let taken = self.take_snapshots(&operation(), &volumes, &due.tag).await.map_err(here)?;
        let ids = volumes.into_iter().map(|volume| volume.id);
        Ok(ids.zip(taken.into_iter().map(|snapshot| snapshot.point)).collect())
    }
}

impl Due {
    fn of(command: Command) -> Option<Self> {
        let What::Take { volumes, tag, unless_idle_since: last } = command.what else {
            return None;
        };
        Some(Self { group: command.group, volumes, tag, last })
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
