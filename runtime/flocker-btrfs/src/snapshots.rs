//! Snapshots: taken of several volumes or of none, listed by what btrfs says, removed by GUID. And what volumes hold.

use std::{fs, path::PathBuf, time::UNIX_EPOCH};

use flocker_model::{
    ByteSize, Guid, Point, Role, Snapshot, SnapshotTag, Timestamp, VolumeId, VolumeState,
};
use flocker_ports::{BackendError, Change, Op};

use crate::{
    backend::Node,
    layout::SNAP,
    roles::{refuse_stale, role_name},
    settle::list,
    sidecar::{Sidecar, sync_folder},
    subvolume::Subvolume,
};

/// Groups that are still being put together.
const UNFINISHED: &str = ".new";

impl Node {
    pub(crate) async fn snapshot(
        &self,
        op: &Op,
        volumes: &[VolumeId],
        tag: &SnapshotTag,
    ) -> Result<Vec<Snapshot>, BackendError> {
        let mut missing: Vec<&VolumeId> = Vec::new();
        for volume in volumes {
            let (role, sidecar) = self.need_whole(volume).await?;
            refuse_stale(op, volume, sidecar.epoch)?;
            let exists = self.btrfs().is_there(&self.layout().snapshot(volume, tag).join(SNAP))?;
            if exists || missing.contains(&volume) {
                continue;
            }
            match role {
                Role::Live | Role::Sealed => missing.push(volume),
                Role::Replica => {
                    let (found, needed) = (role_name(role), "live or sealed");
                    return Err(BackendError::WrongRole { volume: volume.clone(), found, needed });
                }
            }
        }
        for volume in &missing {
            self.refuse_nested(volume).await?;
        }
        match missing.as_slice() {
            [] => {}
            [one] => self.snapshot_one(one, tag).await?,
            [first, ..] => self.snapshot_group(&format!("{tag}@{first}"), &missing, tag).await?,
        }
        let mut taken = Vec::with_capacity(volumes.len());
        for volume in volumes {
            taken.push(self.snapshot_at(volume, tag).await?);
        }
        Ok(taken)
    }

    /// A snapshot shows a subvolume inside the volume as an empty folder: whatever is in it would be lost by a move.
    async fn refuse_nested(&self, volume: &VolumeId) -> Result<(), BackendError> {
        let Some(inner) = self.nested(volume).await?.pop() else { return Ok(()) };
        let inner = inner.display();
        Err(BackendError::Failed {
            action: format!("could not snapshot volume `{volume}`"),
            reason: format!(
                "`{inner}` in it is a btrfs subvolume of its own, which snapshots leave out\nhint: copy what it holds \
                 into a plain folder, and remove it with `btrfs subvolume delete {inner}`"
            ),
        })
    }

    /// The subvolumes that somebody made inside the live one, the innermost first.
    pub(crate) async fn nested(&self, volume: &VolumeId) -> Result<Vec<PathBuf>, BackendError> {
        let root = self.layout().root();
        let listed = self.btrfs().list(root).await?;
        let live = format!("live/{volume}");
        let live = listed.iter().find(|found| found.top == self.pool.root_id && found.path == live);
        let mut outer: Vec<u64> = live.iter().map(|live| live.id).collect();
        let mut nested = Vec::new();
        while let Some(id) = outer.pop() {
            for inner in listed.iter().filter(|found| found.top == id) {
                outer.push(inner.id);
                nested.push(root.join(&inner.path));
            }
        }
        nested.reverse();
        Ok(nested)
    }

    /// One volume needs no group: the snapshot appears whole, and durable, or not at all.
    async fn snapshot_one(&self, volume: &VolumeId, tag: &SnapshotTag) -> Result<(), BackendError> {
        let folder = self.layout().snapshot(volume, tag);
        self.files("could not make the folder of a snapshot", &folder, |folder| {
            fs::create_dir_all(folder)
        })
        .await?;
        self.steps.done("made folder")?;
        self.btrfs().snapshot_read_only(&self.layout().live(volume), &folder.join(SNAP)).await
    }

    /// Several volumes: taken one after the other inside a folder, whose rename makes all of them count at once.
    ///
    /// btrfs cannot stop several subvolumes at one moment. The snapshots lie milliseconds apart; an app that keeps one
    /// truth in two volumes is exact only when it is stopped or quiesced, as in a move.
    async fn snapshot_group(
        &self,
        name: &str,
        volumes: &[&VolumeId],
        tag: &SnapshotTag,
    ) -> Result<(), BackendError> {
        let whole = self.layout().groups().join(name);
        let unfinished = self.layout().groups().join(format!("{name}{UNFINISHED}"));
        self.remove_group(unfinished.clone()).await?;
        for volume in volumes {
            let folder = unfinished.join(volume.as_str());
            self.files("could not make the folder of a snapshot", &folder, |folder| {
                fs::create_dir_all(folder)
            })
            .await?;
            self.btrfs()
                .snapshot_read_only(&self.layout().live(volume), &folder.join(SNAP))
                .await?;
            self.steps.done("took one")?;
        }
        let target = whole.clone();
        self.files("could not complete the snapshots", &unfinished, move |unfinished| {
            fs::rename(unfinished, &target)?;
            // The snapshots are durable already; from here on so is the fact that all of them count.
            target.parent().map_or(Ok(()), sync_folder)
        })
        .await?;
        self.steps.done("completed the group")?;
        self.place_group(whole, tag).await
    }

    /// Moves the snapshots of a complete group to where they belong. Those that were moved already are gone from it.
    async fn place_group(&self, group: PathBuf, tag: &SnapshotTag) -> Result<(), BackendError> {
        let (layout, tag) = (self.layout().clone(), tag.clone());
        self.files("could not put snapshots in their place", &group, move |group| {
            for name in list(group)? {
                let Some(volume) = name.to_str().and_then(|name| VolumeId::new(name).ok()) else {
                    continue;
                };
                fs::create_dir_all(layout.snapshots(&volume))?;
                fs::rename(group.join(&name), layout.snapshot(&volume, &tag))?;
            }
            fs::remove_dir(group)
        })
        .await
    }

    async fn remove_group(&self, group: PathBuf) -> Result<(), BackendError> {
        let names =
            list(&group).map_err(|error| self.btrfs().io("could not list", &group, &error))?;
        let which: Vec<PathBuf> = names.iter().map(|name| group.join(name).join(SNAP)).collect();
        self.btrfs().delete(&which).await?;
        self.files("could not remove", &group, move |group| {
            names.iter().try_for_each(|name| fs::remove_dir(group.join(name)))?;
            crate::sidecar::gone_is_fine(fs::remove_dir(group))
        })
        .await
    }

    /// After a crash: groups that were complete are put in their place, others never counted and are removed.
    /// Answers what could not be put in order.
    pub(crate) async fn finish_groups(&self) -> Result<Vec<String>, BackendError> {
        let mut troubles = Vec::new();
        for name in self.names_in("groups")? {
            let path = self.layout().groups().join(&name);
            let name = name.to_string_lossy();
            let tag = name.split_once('@').and_then(|(tag, _)| SnapshotTag::new(tag).ok());
            let finished = match tag {
                Some(_) if name.ends_with(UNFINISHED) => self.remove_group(path).await,
                Some(tag) => self.place_group(path, &tag).await,
                None => Ok(()),
            };
            troubles.extend(finished.err().map(|error| error.to_string()));
        }
        Ok(troubles)
    }

    pub(crate) async fn snapshot_at(
        &self,
        volume: &VolumeId,
        tag: &SnapshotTag,
    ) -> Result<Snapshot, BackendError> {
        let missing = || BackendError::NoSuchSnapshot { volume: volume.clone(), tag: tag.clone() };
        let path = self.layout().snapshot(volume, tag).join(SNAP);
        let found = self.btrfs().show(&path).await?.ok_or_else(missing)?;
        let point = Point { tag: tag.clone(), guid: found.guid() };
        Ok(Snapshot { taken: self.taken(volume, tag), referenced: found.referenced, point })
    }

    /// The folder around a snapshot was last changed when the snapshot appeared in it.
    fn taken(&self, volume: &VolumeId, tag: &SnapshotTag) -> Timestamp {
        let changed = fs::metadata(self.layout().snapshot(volume, tag))
            .and_then(|metadata| metadata.modified());
        let since =
            changed.ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
        Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// The snapshots of a volume, oldest first: the numbers of subvolumes grow, so neither clocks nor names matter.
    pub(crate) async fn points(
        &self,
        volume: &VolumeId,
    ) -> Result<Vec<(Point, Subvolume)>, BackendError> {
        let listed = self.pool.list().await?;
        Ok(self.points_among(&listed, volume))
    }

    fn points_among(&self, listed: &[Subvolume], volume: &VolumeId) -> Vec<(Point, Subvolume)> {
        let folder = format!("snapshots/{volume}/");
        let mut points: Vec<(Point, Subvolume)> = listed
            .iter()
            .filter_map(|subvolume| {
                let tag =
                    subvolume.path.strip_prefix(&folder)?.strip_suffix(SNAP)?.strip_suffix('/')?;
                let point = Point { tag: SnapshotTag::new(tag).ok()?, guid: subvolume.guid() };
                Some((point, subvolume.clone()))
            })
            .collect();
        points.sort_by_key(|(_, subvolume)| subvolume.id);
        points
    }

    /// The snapshot of this identity among the volume's, whatever its name.
    pub(crate) fn subvolume_of(
        &self,
        volume: &VolumeId,
        point: &Point,
        points: &[(Point, Subvolume)],
    ) -> Result<PathBuf, BackendError> {
        path_of(points, &point.guid)
            .map(|tag| self.layout().snapshot(volume, tag).join(SNAP))
            .ok_or_else(|| BackendError::NoSuchSnapshot {
                volume: volume.clone(),
                tag: point.tag.clone(),
            })
    }

    pub(crate) async fn snapshots(&self, volume: &VolumeId) -> Result<Vec<Snapshot>, BackendError> {
        self.need(volume).await?;
        let root = self.layout().root();
        let (listed, referenced) =
            tokio::try_join!(self.pool.list(), self.btrfs().referenced(root))?;
        let points = self.points_among(&listed, volume);
        Ok(points
            .into_iter()
            .map(|(point, subvolume)| Snapshot {
                taken: self.taken(volume, &point.tag),
                referenced: referenced.get(&subvolume.id).copied().unwrap_or_default(),
                point,
            })
            .collect())
    }

    pub(crate) async fn destroy_snapshots(
        &self,
        op: &Op,
        volume: &VolumeId,
        which: &[Point],
    ) -> Result<Change, BackendError> {
        let (_, sidecar) = self.need_whole(volume).await?;
        refuse_stale(op, volume, sidecar.epoch)?;
        // Looked up now, not when the caller decided: the name may have been taken by another snapshot since.
        let points = self.points(volume).await?;
        let doomed: Vec<PathBuf> = points
            .iter()
            .filter(|(point, _)| which.contains(point))
            .map(|(point, _)| self.layout().snapshot(volume, &point.tag).join(SNAP))
            .collect();
        self.btrfs().delete(&doomed).await?;
        self.steps.done("removed")?;
        self.clear_empty_folders(volume).await?;
        Ok(if doomed.is_empty() { Change::None } else { Change::Made })
    }

    pub(crate) async fn stat(
        &self,
        volume: &VolumeId,
    ) -> Result<Option<VolumeState>, BackendError> {
        let Some((role, sidecar)) = self.find(volume).await? else { return Ok(None) };
        let root = self.layout().root();
        let (listed, referenced) =
            tokio::try_join!(self.pool.list(), self.btrfs().referenced(root))?;
        let used = self.used(volume, role, &listed, |id| referenced.get(&id).copied());
        Ok(Some(state(volume, role, &sidecar, used)))
    }

    /// Every volume that can be read. One with a damaged sidecar is left out here and is an error in `stat`: it must not
    /// make the others unknown, and nobody takes its absence for leave to make it anew, since `create` refuses too.
    pub(crate) async fn volumes(&self) -> Result<Vec<VolumeState>, BackendError> {
        let root = self.layout().root();
        let (listed, referenced) =
            tokio::try_join!(self.pool.list(), self.btrfs().referenced(root))?;
        let mut volumes = Vec::new();
        for volume in self.volumes_in("meta")? {
            match self.find(&volume).await {
                Ok(Some((role, sidecar))) => {
                    let used = self.used(&volume, role, &listed, |id| referenced.get(&id).copied());
                    volumes.push(state(&volume, role, &sidecar, used));
                }
                Ok(None) => {}
                Err(error) => tracing::error!("{error}"),
            }
        }
        Ok(volumes)
    }

    /// What is written to the live subvolume, or to the newest snapshot where there is none.
    fn used(
        &self,
        volume: &VolumeId,
        role: Role,
        listed: &[Subvolume],
        referenced: impl Fn(u64) -> Option<ByteSize>,
    ) -> ByteSize {
        let id = match role {
            Role::Live | Role::Sealed => {
                let path = format!("live/{volume}");
                listed.iter().find(|subvolume| subvolume.path == path).map(|subvolume| subvolume.id)
            }
            Role::Replica => {
                self.points_among(listed, volume).last().map(|(_, subvolume)| subvolume.id)
            }
        };
        id.and_then(referenced).unwrap_or_default()
    }
}

fn state(volume: &VolumeId, role: Role, sidecar: &Sidecar, used: ByteSize) -> VolumeState {
    VolumeState { id: volume.clone(), role, epoch: sidecar.epoch, size: sidecar.size, used }
}

/// The name under which a snapshot of this identity is here.
pub(crate) fn path_of<'a>(
    points: &'a [(Point, Subvolume)],
    guid: &Guid,
) -> Option<&'a SnapshotTag> {
    points.iter().find(|(point, _)| &point.guid == guid).map(|(point, _)| &point.tag)
}
