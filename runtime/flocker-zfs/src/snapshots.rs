//! Snapshots, taken of many volumes at once, what was written since, and the bookmarks that outlive them.

use std::collections::BTreeMap;

use flocker_model::{ByteSize, Epoch, Guid, OperationId, Point, Snapshot, SnapshotTag, VolumeId};
use flocker_ports::{BackendError, Change, Op, VolumeEpoch};
use flocker_zfs_wire::{Call, Map, Value};
use futures::future::try_join_all;

use crate::{
    backend::Node,
    plan,
    state::{MARK, snapshot_of_values},
    verbs::{TRIES, guid},
};

impl Node {
    /// One call and one transaction group, however many volumes there are.
    pub(crate) async fn snapshot(
        &self,
        id: &OperationId,
        volumes: &[VolumeEpoch],
        tag: &SnapshotTag,
    ) -> Result<Vec<Snapshot>, BackendError> {
        let action = "could not snapshot";
        let Some(VolumeEpoch { id: first, .. }) = volumes.first() else { return Ok(Vec::new()) };
        let by_dataset: BTreeMap<String, &VolumeEpoch> =
            volumes.iter().map(|volume| (self.dataset(&volume.id), volume)).collect();
        let asked: Map = by_dataset
            .iter()
            .map(|(dataset, volume)| (dataset.clone(), signed(volume.epoch)))
            .collect();
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
            let volume = by_dataset.get(dataset).map_or(first, |volume| &volume.id);
            match text("outcome") {
                "done" => return self.taken(volumes, tag, &answer),
                "refused" => return Err(self.refused(&self.about(action, volume), &answer)),
                // One is not there, or not as it must be; the first of them is said. If all are by now, once more.
                _ => {
                    for VolumeEpoch { id: volume, epoch } in volumes {
                        let op = Op { id: id.clone(), epoch: *epoch };
                        plan::snapshot(&op, volume, &*self.need(volume).await?, tag)?;
                    }
                }
            }
        }
        Err(self.restless(action, first))
    }

    fn taken(
        &self,
        volumes: &[VolumeEpoch],
        tag: &SnapshotTag,
        answer: &Map,
    ) -> Result<Vec<Snapshot>, BackendError> {
        let taken = answer.get("taken").and_then(Value::list);
        let one = |VolumeEpoch { id: volume, .. }: &VolumeEpoch| {
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

    /// One call and one transaction group for all snapshots, however many volumes there are, and another for bookmarks. In
    /// the order of the volumes, what became of each; or nothing was removed.
    pub(crate) async fn destroy_snapshots(
        &self,
        id: &OperationId,
        which: &[(VolumeEpoch, Vec<Point>)],
    ) -> Result<Vec<Change>, BackendError> {
        let action = "could not remove snapshots of";
        let Some((VolumeEpoch { id: first, .. }, _)) = which.first() else { return Ok(vec![]) };
        let program =
            concat!(include_str!("programs/own.lua"), include_str!("programs/destroy.lua"));
        let asked: Map = which.iter().map(|(v, points)| self.to_destroy(v, points)).collect();
        let arguments = Map::from([("volumes".to_owned(), asked.into())]);
        let mut gone = Map::new();
        for _ in 0..TRIES {
            let answer = self.program(program, true, arguments.clone()).await;
            let answer = answer.map_err(|error| self.about(action, first).explain(error))?;
            let text = |name: &str| answer.get(name).and_then(Value::text).unwrap_or_default();
            match text("outcome") {
                "done" => {
                    let destroyed = answer.get("destroyed").and_then(Value::list);
                    gone.extend(destroyed.cloned().unwrap_or_default());
                    return self.forget(which, &gone).await;
                }
                "refused" => {
                    let is_of = |(volume, _): &&(VolumeEpoch, _)| {
                        self.dataset(&volume.id) == text("dataset")
                    };
                    let refused = which.iter().find(is_of);
                    let volume = refused.map_or(first, |(volume, _)| &volume.id);
                    // ZFS keeps those that clones stand on; for everybody else they are gone.
                    let asked = refused.map_or(&[][..], |(_, points)| points);
                    if !self.hide(volume, asked).await? {
                        return Err(self.refused(&self.about(action, volume), &answer));
                    }
                    gone.insert(self.dataset(volume), Value::Bool(true));
                }
                // One is not there, or not as it must be; the first of them is said. If all are by now, once more.
                _ => {
                    for (VolumeEpoch { id: volume, epoch }, _) in which {
                        let op = Op { id: id.clone(), epoch: *epoch };
                        plan::refuse_stale(&op, volume, self.need(volume).await?.label.epoch)?;
                    }
                }
            }
        }
        Err(self.restless(action, first))
    }

    /// What `destroy.lua` is told of a volume.
    fn to_destroy(&self, volume: &VolumeEpoch, points: &[Point]) -> (String, Value) {
        let dataset = self.dataset(&volume.id);
        let name = |point: &Point| format!("{dataset}@{MARK}{}", point.tag);
        let snapshots: Map = points.iter().map(|point| (name(point), guid(point))).collect();
        let want = Map::from([
            ("epoch".to_owned(), signed(volume.epoch)),
            ("destroy".to_owned(), snapshots.into()),
        ]);
        (dataset, want.into())
    }

    /// Bookmarks go after their snapshots: whoever is killed in between can still send from them.
    async fn forget(
        &self,
        which: &[(VolumeEpoch, Vec<Point>)],
        destroyed: &Map,
    ) -> Result<Vec<Change>, BackendError> {
        let marks = which.iter().map(async |(volume, points)| {
            let marks = self.marks(&volume.id).await?;
            let names = marks.into_iter().filter(|(_, p)| points.contains(p)).map(|(name, _)| name);
            Ok::<Vec<String>, BackendError>(names.collect())
        });
        let marks = try_join_all(marks).await?;
        let names: Vec<String> = marks.iter().flatten().cloned().collect();
        if let Some((volume, _)) = which.first().filter(|_| !names.is_empty()) {
            let forgotten = self.helper.call(Call::DestroyBookmarks { names }).await;
            let about = self.about("could not remove bookmarks of", &volume.id);
            forgotten.map_err(|error| about.explain(error))?;
        }
        let change = |((volume, _), marks): (&(VolumeEpoch, _), &Vec<String>)| {
            let any = destroyed.contains_key(&self.dataset(&volume.id)) || !marks.is_empty();
            if any { Change::Made } else { Change::None }
        };
        Ok(which.iter().zip(&marks).map(change).collect())
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

/// Numbers of a program have a sign; no epoch comes near.
fn signed(epoch: Epoch) -> Value {
    Value::Signed(i64::try_from(epoch.0).unwrap_or(i64::MAX))
}
