//! Volumes, their snapshots, and the ladder of roles. Everything here happens at once or not at all.

use std::collections::BTreeMap;

use flocker_model::{
    ByteSize, Capacity, Epoch, Guid, OperationId, Point, Role, Snapshot, SnapshotTag, Timestamp,
    VolumeId, VolumeState,
};
use flocker_ports::{Attachment, BackendError, Change, Op, VolumeEpoch};

use super::{
    files::{self, Files},
    receive::Incoming,
};

/// The storage of one node.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) node: String,
    pub(super) volumes: BTreeMap<VolumeId, Volume>,
    size: ByteSize,
    /// The next number for whatever must be unique here: GUIDs, inodes, receives.
    next: u64,
}

/// One copy of a volume.
#[derive(Debug)]
pub(super) struct Volume {
    pub(super) role: Role,
    pub(super) epoch: Epoch,
    pub(super) size: ByteSize,
    /// The present state of a live or sealed copy. A replica's is that of its newest snapshot.
    pub(super) files: Files,
    /// When somebody wrote to it here.
    pub(super) written: Option<Timestamp>,
    /// Oldest first.
    pub(super) snapshots: Vec<Taken>,
    pub(super) incoming: Option<Incoming>,
    /// It is what was left of this volume when that went back to this snapshot.
    pub(super) left_of: Option<(VolumeId, Point)>,
    /// Another one for each live state, so that what is attached is never taken for what was.
    pub(super) inode: u64,
}

/// A snapshot and what it holds.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) snapshot: Snapshot,
    pub(super) files: Files,
}

/// The word for a role in errors.
pub(super) fn role_name(role: Role) -> &'static str {
    match role {
        Role::Live => "live",
        Role::Sealed => "sealed",
        Role::Replica => "a replica",
    }
}

pub(super) fn wrong_role(id: &VolumeId, found: &'static str, needed: &'static str) -> BackendError {
    BackendError::WrongRole { volume: id.clone(), found, needed }
}

fn stale(op: &Op, id: &VolumeId, current: Epoch) -> BackendError {
    BackendError::StaleEpoch { volume: id.clone(), current, asked: op.epoch }
}

/// The check that every change starts with.
pub(super) fn refuse_older(op: &Op, id: &VolumeId, current: Epoch) -> Result<(), BackendError> {
    if op.epoch < current { Err(stale(op, id, current)) } else { Ok(()) }
}

/// For changes that only a newer owner may ask for.
fn refuse_unless_newer(op: &Op, id: &VolumeId, current: Epoch) -> Result<(), BackendError> {
    if op.epoch <= current { Err(stale(op, id, current)) } else { Ok(()) }
}

/// A sealed copy holds what no snapshot does, and would lose it.
fn written_after(id: &VolumeId, at: &Point) -> BackendError {
    let (expected, found) = (at.tag.to_string(), "writes after it".to_owned());
    BackendError::Diverged { volume: id.clone(), expected, found }
}

impl Volume {
    pub(super) fn find(&self, id: &VolumeId, point: &Point) -> Result<&Taken, BackendError> {
        self.snapshots.iter().find(|taken| taken.snapshot.point == *point).ok_or_else(|| {
            BackendError::NoSuchSnapshot { volume: id.clone(), tag: point.tag.clone() }
        })
    }

    fn newest_must_be(&self, id: &VolumeId, at: &Point) -> Result<&Taken, BackendError> {
        match self.snapshots.last() {
            Some(newest) if newest.snapshot.point == *at => Ok(newest),
            Some(newest) => Err(BackendError::Diverged {
                volume: id.clone(),
                expected: format!("{} {}", at.tag, at.guid),
                found: format!("{} {}", newest.snapshot.point.tag, newest.snapshot.point.guid),
            }),
            None => Err(BackendError::NoSuchSnapshot { volume: id.clone(), tag: at.tag.clone() }),
        }
    }

    fn state(&self, id: &VolumeId) -> VolumeState {
        let used = ByteSize(files::size(&self.files));
        VolumeState { id: id.clone(), role: self.role, epoch: self.epoch, size: self.size, used }
    }
}

impl Pool {
    pub(super) fn new(node: &str, size: ByteSize) -> Self {
        Self { node: node.to_owned(), volumes: BTreeMap::new(), size, next: 1 }
    }

    pub(super) fn unique(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(super) fn need(&mut self, id: &VolumeId) -> Result<&mut Volume, BackendError> {
        self.volumes.get_mut(id).ok_or_else(|| BackendError::NoSuchVolume(id.clone()))
    }

    /// Snapshots are free, as long as they share what they hold with the present state.
    pub(super) fn capacity(&self) -> Capacity {
        let of = |volume: &Volume| {
            files::size(&volume.files)
                + volume.incoming.as_ref().map_or(0, |incoming| incoming.bytes.len() as u64)
        };
        let used: u64 = self.volumes.values().map(of).sum();
        Capacity { total: self.size, free: ByteSize(self.size.0.saturating_sub(used)) }
    }

    pub(super) fn states(&self) -> Vec<VolumeState> {
        self.volumes.iter().map(|(id, volume)| volume.state(id)).collect()
    }

    pub(super) fn written(&self, ids: &[VolumeId]) -> BTreeMap<VolumeId, Timestamp> {
        let written = |id: &VolumeId| Some((id.clone(), self.volumes.get(id)?.written?));
        ids.iter().filter_map(written).collect()
    }

    pub(super) fn written_since(&self, which: &[(VolumeId, SnapshotTag)]) -> Vec<Option<ByteSize>> {
        let written = |(id, tag): &(VolumeId, SnapshotTag)| {
            let volume = self.volumes.get(id)?;
            let taken = volume.snapshots.iter().find(|taken| taken.snapshot.point.tag == *tag)?;
            let changed =
                volume.files.iter().filter(|(name, at)| taken.files.get(*name) != Some(at));
            // What was removed takes a little as well.
            let gone = taken.files.keys().filter(|name| !volume.files.contains_key(*name)).count();
            Some(ByteSize(changed.map(|(_, bytes)| bytes.len() as u64).sum::<u64>() + gone as u64))
        };
        which.iter().map(written).collect()
    }

    pub(super) fn state(&self, id: &VolumeId) -> Option<VolumeState> {
        Some(self.volumes.get(id)?.state(id))
    }

    pub(super) fn create(
        &mut self,
        op: &Op,
        id: &VolumeId,
        size: ByteSize,
    ) -> Result<Change, BackendError> {
        if self.is_made(op, id)? {
            return Ok(Change::None);
        }
        self.make(op, id, size, Files::new());
        Ok(Change::Made)
    }

    pub(super) fn clone_volume(
        &mut self,
        op: &Op,
        source: &VolumeId,
        at: &Point,
        id: &VolumeId,
    ) -> Result<Change, BackendError> {
        if self.is_made(op, id)? {
            return Ok(Change::None);
        }
        let volume = self.need(source)?;
        let (size, files) = (volume.size, volume.find(source, at)?.files.clone());
        self.make(op, id, size, files);
        Ok(Change::Made)
    }

    pub(super) fn rollback(
        &mut self,
        op: &Op,
        id: &VolumeId,
        to: &Point,
        kept: &VolumeId,
    ) -> Result<Change, BackendError> {
        self.attach(op, id)?;
        if let Some(other) = self.volumes.get(kept) {
            if other.left_of.as_ref() == Some(&(id.clone(), to.clone())) {
                return Ok(Change::None);
            }
            return Err(wrong_role(kept, role_name(other.role), "absent"));
        }
        let volume = self.need(id)?;
        let (size, files) = (volume.size, volume.find(id, to)?.files.clone());
        let later = volume.snapshots.iter().position(|taken| taken.snapshot.point == *to);
        let later = volume.snapshots.split_off(later.map_or(0, |at| at + 1));
        let earlier = std::mem::replace(&mut volume.snapshots, later);
        volume.left_of = Some((id.clone(), to.clone()));
        if let Some(until_now) = self.volumes.remove(id) {
            self.volumes.insert(kept.clone(), until_now);
        }
        self.make(op, id, size, files);
        self.need(id)?.snapshots = earlier;
        Ok(Change::Made)
    }

    /// Whether it was made under this epoch already; one that is there otherwise is in the way.
    fn is_made(&self, op: &Op, id: &VolumeId) -> Result<bool, BackendError> {
        let Some(volume) = self.volumes.get(id) else { return Ok(false) };
        refuse_older(op, id, volume.epoch)?;
        match volume.role {
            Role::Live if volume.epoch == op.epoch => Ok(true),
            Role::Live => Err(wrong_role(id, "live at an older epoch", "absent")),
            Role::Sealed | Role::Replica => Err(wrong_role(id, role_name(volume.role), "absent")),
        }
    }

    fn make(&mut self, op: &Op, id: &VolumeId, size: ByteSize, files: Files) {
        let volume = Volume {
            role: Role::Live,
            epoch: op.epoch,
            size,
            files,
            written: None,
            snapshots: Vec::new(),
            incoming: None,
            left_of: None,
            inode: self.unique(),
        };
        self.volumes.insert(id.clone(), volume);
    }

    pub(super) fn resize(
        &mut self,
        op: &Op,
        id: &VolumeId,
        size: ByteSize,
    ) -> Result<Change, BackendError> {
        let volume = self.need(id)?;
        refuse_older(op, id, volume.epoch)?;
        match volume.role {
            Role::Live => {}
            Role::Sealed | Role::Replica => {
                return Err(wrong_role(id, role_name(volume.role), "live"));
            }
        }
        let change = if volume.size == size { Change::None } else { Change::Made };
        volume.size = size;
        Ok(change)
    }

    pub(super) fn destroy(&mut self, op: &Op, id: &VolumeId) -> Result<Change, BackendError> {
        let Some(volume) = self.volumes.get(id) else { return Ok(Change::None) };
        refuse_older(op, id, volume.epoch)?;
        self.volumes.remove(id);
        Ok(Change::Made)
    }

    pub(super) fn snapshot(
        &mut self,
        op: &Op,
        ids: &[VolumeId],
        tag: &SnapshotTag,
        now: Timestamp,
    ) -> Result<Vec<Snapshot>, BackendError> {
        let of_one = |id: &VolumeId| VolumeEpoch { id: id.clone(), epoch: op.epoch };
        let volumes: Vec<VolumeEpoch> = ids.iter().map(of_one).collect();
        self.snapshot_together(&op.id, &volumes, tag, now)
    }

    pub(super) fn snapshot_together(
        &mut self,
        operation: &OperationId,
        volumes: &[VolumeEpoch],
        tag: &SnapshotTag,
        now: Timestamp,
    ) -> Result<Vec<Snapshot>, BackendError> {
        // All of them are checked before the first is taken.
        for VolumeEpoch { id, epoch } in volumes {
            let op = &Op { id: operation.clone(), epoch: *epoch };
            let volume = self.need(id)?;
            refuse_older(op, id, volume.epoch)?;
            let exists = volume.snapshots.iter().any(|taken| taken.snapshot.point.tag == *tag);
            match volume.role {
                Role::Live | Role::Sealed => {}
                Role::Replica if exists => {}
                Role::Replica => {
                    return Err(wrong_role(id, role_name(volume.role), "live or sealed"));
                }
            }
        }
        volumes.iter().map(|volume| self.snapshot_one(&volume.id, tag, now)).collect()
    }

    fn snapshot_one(
        &mut self,
        id: &VolumeId,
        tag: &SnapshotTag,
        now: Timestamp,
    ) -> Result<Snapshot, BackendError> {
        let number = self.unique();
        let guid = Guid(format!("{}-{number}", self.node));
        let volume = self.need(id)?;
        if let Some(taken) = volume.snapshots.iter().find(|taken| taken.snapshot.point.tag == *tag)
        {
            return Ok(taken.snapshot.clone());
        }
        let point = Point { tag: tag.clone(), guid };
        let snapshot =
            Snapshot { point, taken: now, referenced: ByteSize(files::size(&volume.files)) };
        volume.snapshots.push(Taken { snapshot: snapshot.clone(), files: volume.files.clone() });
        Ok(snapshot)
    }

    pub(super) fn snapshots(&mut self, id: &VolumeId) -> Result<Vec<Snapshot>, BackendError> {
        Ok(self.need(id)?.snapshots.iter().map(|taken| taken.snapshot.clone()).collect())
    }

    pub(super) fn destroy_snapshots(
        &mut self,
        op: &Op,
        id: &VolumeId,
        which: &[Point],
    ) -> Result<Change, BackendError> {
        let volume = self.need(id)?;
        refuse_older(op, id, volume.epoch)?;
        let before = volume.snapshots.len();
        volume.snapshots.retain(|taken| !which.contains(&taken.snapshot.point));
        Ok(if volume.snapshots.len() == before { Change::None } else { Change::Made })
    }

    pub(super) fn destroy_snapshots_together(
        &mut self,
        operation: &OperationId,
        which: &[(VolumeEpoch, Vec<Point>)],
    ) -> Result<Vec<Change>, BackendError> {
        let op = |volume: &VolumeEpoch| Op { id: operation.clone(), epoch: volume.epoch };
        for (volume, _) in which {
            let epoch = self.need(&volume.id)?.epoch;
            refuse_older(&op(volume), &volume.id, epoch)?;
        }
        which.iter().map(|(v, points)| self.destroy_snapshots(&op(v), &v.id, points)).collect()
    }

    pub(super) fn attach(&mut self, op: &Op, id: &VolumeId) -> Result<Attachment, BackendError> {
        let path = self.root().join(id.as_str());
        let volume = self.need(id)?;
        refuse_older(op, id, volume.epoch)?;
        match volume.role {
            // The device is the volume's for as long as it exists, as a subvolume's is; the inode tells states apart.
            Role::Live if volume.epoch == op.epoch => {
                Ok(Attachment { path, device: 1_000_000 + volume.inode, inode: volume.inode })
            }
            Role::Live => {
                Err(wrong_role(id, "live at an older epoch", "live at the epoch asked for"))
            }
            Role::Sealed | Role::Replica => Err(wrong_role(id, role_name(volume.role), "live")),
        }
    }

    pub(super) fn seal(&mut self, op: &Op, id: &VolumeId) -> Result<Change, BackendError> {
        let volume = self.need(id)?;
        refuse_older(op, id, volume.epoch)?;
        match volume.role {
            Role::Live => {
                (volume.role, volume.epoch) = (Role::Sealed, op.epoch);
                Ok(Change::Made)
            }
            Role::Sealed if volume.epoch == op.epoch => Ok(Change::None),
            Role::Sealed => Err(wrong_role(id, "sealed at an older epoch", "live")),
            Role::Replica => Err(wrong_role(id, role_name(volume.role), "live")),
        }
    }

    pub(super) fn unseal(&mut self, op: &Op, id: &VolumeId) -> Result<Change, BackendError> {
        let volume = self.need(id)?;
        refuse_older(op, id, volume.epoch)?;
        if volume.epoch != op.epoch {
            return Err(wrong_role(id, "at an older epoch", "sealed at the epoch asked for"));
        }
        match volume.role {
            Role::Live => Ok(Change::None),
            Role::Sealed => {
                volume.role = Role::Live;
                Ok(Change::Made)
            }
            Role::Replica => Err(wrong_role(id, role_name(volume.role), "sealed")),
        }
    }

    pub(super) fn promote(
        &mut self,
        op: &Op,
        id: &VolumeId,
        at: &Point,
    ) -> Result<Change, BackendError> {
        let inode = self.unique();
        let volume = self.need(id)?;
        match volume.role {
            Role::Live if volume.epoch == op.epoch => return Ok(Change::None),
            Role::Live => {
                refuse_older(op, id, volume.epoch)?;
                return Err(wrong_role(id, "live at an older epoch", "a replica or sealed"));
            }
            Role::Sealed | Role::Replica => refuse_unless_newer(op, id, volume.epoch)?,
        }
        let files = volume.newest_must_be(id, at)?.files.clone();
        if volume.role == Role::Sealed && volume.files != files {
            return Err(written_after(id, at));
        }
        volume.files = files;
        (volume.role, volume.epoch, volume.inode, volume.incoming) =
            (Role::Live, op.epoch, inode, None);
        Ok(Change::Made)
    }

    pub(super) fn retire(
        &mut self,
        op: &Op,
        id: &VolumeId,
        at: &Point,
    ) -> Result<Change, BackendError> {
        let volume = self.need(id)?;
        match volume.role {
            Role::Live => {
                refuse_older(op, id, volume.epoch)?;
                return Err(wrong_role(id, role_name(volume.role), "sealed"));
            }
            Role::Replica => {
                refuse_older(op, id, volume.epoch)?;
                return Ok(Change::None);
            }
            // Under the sealed epoch itself nobody else owns it yet: it may be the only copy.
            Role::Sealed => refuse_unless_newer(op, id, volume.epoch)?,
        }
        if volume.newest_must_be(id, at)?.files != volume.files {
            return Err(written_after(id, at));
        }
        (volume.role, volume.epoch) = (Role::Replica, op.epoch);
        Ok(Change::Made)
    }
}
