//! Snapshots, taken of many volumes at once, what was written since, and the bookmarks that outlive them.

use std::collections::BTreeMap;

use flocker_model::{ByteSize, Guid, Point, Snapshot, SnapshotTag, VolumeId};
use flocker_ports::{BackendError, Change, Op};
use flocker_zfs_wire::{Call, Map, Value};

use crate::{
    backend::Node,
    plan,
    state::{MARK, snapshot_of_values},
    verbs::{Effect, Said, TRIES},
};

impl Node {
    /// One call and one transaction group, however many volumes there are.
    pub(crate) async fn snapshot(
        &self,
        op: &Op,
        volumes: &[VolumeId],
        tag: &SnapshotTag,
    ) -> Result<Vec<Snapshot>, BackendError> {
        let action = "could not snapshot";
        let Some(first) = volumes.first() else { return Ok(Vec::new()) };
        let by_dataset: BTreeMap<String, &VolumeId> =
            volumes.iter().map(|volume| (self.dataset(volume), volume)).collect();
        // Numbers of a program have a sign; no epoch comes near.
        let epoch = Value::Signed(i64::try_from(op.epoch.0).unwrap_or(i64::MAX));
        let asked: Map =
            by_dataset.keys().map(|dataset| (dataset.clone(), epoch.clone())).collect();
        let arguments = Map::from([
            ("name".to_owned(), format!("{MARK}{tag}").into()),
            ("volumes".to_owned(), asked.into()),
        ]);
        for _ in 0..TRIES {
            let program =
                concat!(include_str!("programs/own.lua"), include_str!("programs/snapshot.lua"));
            let answer = self.program(program, true, arguments.clone()).await;
            let answer = answer.map_err(|error| self.about(action, first).explain(error))?;
            let text = |name: &str| answer.get(name).and_then(Value::text).unwrap_or_default();
            let object = text("object");
            let dataset = object.split_once('@').map_or(object, |(dataset, _)| dataset);
            let volume = by_dataset.get(dataset).copied().unwrap_or(first);
            match text("outcome") {
                "done" => return self.taken(volumes, tag, &answer),
                "refused" => return Err(self.refused(&self.about(action, volume), &answer)),
                // One is not there, or not as it must be; the first of them is said. If all are by now, once more.
                _ => {
                    for volume in volumes {
                        plan::snapshot(op, volume, &*self.need(volume).await?, tag)?;
                    }
                }
            }
        }
        Err(self.restless(action, first))
    }

    fn taken(
        &self,
        volumes: &[VolumeId],
        tag: &SnapshotTag,
        answer: &Map,
    ) -> Result<Vec<Snapshot>, BackendError> {
        let taken = answer.get("taken").and_then(Value::list);
        let one = |volume: &VolumeId| {
            let values = taken.and_then(|taken| taken.get(&self.dataset(volume)));
            let snapshot = values.and_then(Value::list).and_then(|v| snapshot_of_values(tag, v));
            snapshot.map(|(_, snapshot)| snapshot).ok_or_else(|| {
                self.about("could not snapshot", volume).failed("the pool did not say which".into())
            })
        };
        volumes.iter().map(one).collect()
    }

    /// One call, however many volumes there are.
    pub(crate) async fn written_since(
        &self,
        which: &[(VolumeId, SnapshotTag)],
    ) -> Result<Vec<Option<ByteSize>>, BackendError> {
        let Some((first, _)) = which.first() else { return Ok(Vec::new()) };
        let name = |(volume, tag): &(VolumeId, SnapshotTag)| {
            format!("{}@{MARK}{tag}", self.dataset(volume))
        };
        let asked: Map = which.iter().map(|one| (name(one), Value::Bool(true))).collect();
        let arguments = Map::from([("snapshots".to_owned(), asked.into())]);
        let answer = self.program(include_str!("programs/written.lua"), false, arguments).await;
        let about = self.about("could not ask what was written to", first);
        let answer = answer.map_err(|error| about.explain(error))?;
        let written = |one| answer.get(&name(one)).and_then(Value::number).map(ByteSize);
        Ok(which.iter().map(written).collect())
    }

    pub(crate) async fn destroy_snapshots(
        &self,
        op: &Op,
        volume: &VolumeId,
        which: &[Point],
    ) -> Result<Change, BackendError> {
        let action = "could not remove snapshots of";
        for _ in 0..TRIES {
            let state = self.need(volume).await?;
            plan::refuse_stale(op, volume, state.label.epoch)?;
            let destroy: Vec<Point> =
                state.points().filter(|point| which.contains(point)).cloned().collect();
            let marks = self.marks(volume).await?;
            let marks: Vec<_> = marks.into_iter().filter(|(_, p)| which.contains(p)).collect();
            if destroy.is_empty() && marks.is_empty() {
                return Ok(Change::None);
            }
            let change = Effect { destroy, ..Effect::default() };
            let said = self.commit(action, vec![(volume, &*state, change)]).await?;
            let Said::Done { n_destroyed } = said else { continue };
            // A bookmark goes after its snapshot: whoever is killed in between can still send from it.
            let names: Vec<String> = marks.into_iter().map(|(name, _)| name).collect();
            let any = n_destroyed > 0 || !names.is_empty();
            if !names.is_empty() {
                let forgotten = self.helper.call(Call::DestroyBookmarks { names }).await;
                forgotten.map_err(|error| self.about(action, volume).explain(error))?;
            }
            return Ok(if any { Change::Made } else { Change::None });
        }
        Err(self.restless(action, volume))
    }

    /// Bookmarks of ours, oldest first: full names, and of what they are.
    pub(crate) async fn marks(
        &self,
        volume: &VolumeId,
    ) -> Result<Vec<(String, Point)>, BackendError> {
        let dataset = self.dataset(volume);
        let listed = self.helper.call(Call::Bookmarks { name: dataset.clone() }).await;
        let about = self.about("could not list the bookmarks of", volume);
        let listed = listed.map_err(|error| about.explain(error))?;
        let mut marks: Vec<(u64, String, Point)> = listed
            .iter()
            .filter_map(|(name, values)| {
                let tag = SnapshotTag::new(name.strip_prefix(MARK)?).ok()?;
                // The kernel wraps each value of a property into a list of its own.
                let number = |property: &str| {
                    let value = values.list()?.get(property)?;
                    value.number().or_else(|| value.list()?.get("value")?.number())
                };
                let guid = Guid(number("guid")?.to_string());
                Some((number("createtxg")?, format!("{dataset}#{name}"), Point { tag, guid }))
            })
            .collect();
        marks.sort_by_key(|(created, ..)| *created);
        Ok(marks.into_iter().map(|(_, name, point)| (name, point)).collect())
    }

    pub(crate) async fn bookmarks(&self, volume: &VolumeId) -> Result<Vec<Point>, BackendError> {
        let state = self.need(volume).await?;
        let marks = self.marks(volume).await?.into_iter().map(|(_, point)| point);
        Ok(marks.filter(|point| state.by_guid(&point.guid).is_none()).collect())
    }
}
