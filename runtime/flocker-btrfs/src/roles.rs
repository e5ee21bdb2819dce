//! The ladder of a copy: made, live, sealed, replica, live again, destroyed. Each change is staged, written, settled.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::{MetadataExt, chown},
    path::Path,
};

use flocker_model::{ByteSize, Compression, Epoch, Point, Role, VolumeId, VolumeOptions};
use flocker_ports::{Attachment, BackendError, Change, Op};
use rustix::fs::{Access, XattrFlags, setxattr};

use crate::{
    backend::Node,
    command::is_full,
    layout::{SNAP, data, marker},
    sidecar::{self, Sidecar, Want},
};

/// What errors call a role.
pub(crate) fn role_name(role: Role) -> &'static str {
    match role {
        Role::Live => "live",
        Role::Sealed => "sealed",
        Role::Replica => "a replica",
    }
}

/// The epoch check that every change starts with.
pub(crate) fn refuse_stale(op: &Op, volume: &VolumeId, current: Epoch) -> Result<(), BackendError> {
    if op.epoch < current {
        return Err(BackendError::StaleEpoch { volume: volume.clone(), current, asked: op.epoch });
    }
    Ok(())
}

/// For changes that only a newer owner may ask for.
fn refuse_unless_newer(op: &Op, volume: &VolumeId, current: Epoch) -> Result<(), BackendError> {
    if op.epoch <= current {
        return Err(BackendError::StaleEpoch { volume: volume.clone(), current, asked: op.epoch });
    }
    Ok(())
}

pub(crate) fn wrong_role(
    volume: &VolumeId,
    found: &'static str,
    needed: &'static str,
) -> BackendError {
    BackendError::WrongRole { volume: volume.clone(), found, needed }
}

impl Node {
    /// The role, epoch and size of a copy; `None` where there is none, or only what is still to be removed.
    pub(crate) async fn find(
        &self,
        volume: &VolumeId,
    ) -> Result<Option<(Role, Sidecar)>, BackendError> {
        let (layout, id) = (self.layout().clone(), volume.clone());
        let read = tokio::task::spawn_blocking(move || sidecar::read(&layout, &id)).await;
        let action = || format!("could not read what is known about volume `{volume}`");
        let found = read.map_err(|error| BackendError::Failed {
            action: action(),
            reason: error.to_string(),
        })??;
        Ok(found.and_then(|sidecar| match sidecar.want {
            Want::Role(role) => Some((role, sidecar)),
            Want::Gone => None,
        }))
    }

    /// As [`Node::find`], for changes that need the volume.
    pub(crate) async fn need(&self, volume: &VolumeId) -> Result<(Role, Sidecar), BackendError> {
        self.find(volume).await?.ok_or_else(|| BackendError::NoSuchVolume(volume.clone()))
    }

    /// The point of no return of every change: what the copy should be from now on.
    pub(crate) async fn decide(
        &self,
        volume: &VolumeId,
        sidecar: Sidecar,
    ) -> Result<(), BackendError> {
        let (layout, id, path) =
            (self.layout().clone(), volume.clone(), self.layout().sidecar(volume));
        let action = format!("could not write down what volume `{volume}` is");
        self.files(&action, &path, move |_| match sidecar::write(&layout, &id, &sidecar) {
            Err(error) if is_full(&error) => {
                sidecar::with_reserve(&layout, || sidecar::write(&layout, &id, &sidecar))
            }
            written => written,
        })
        .await
    }

    pub(crate) async fn create(
        &self,
        op: &Op,
        volume: &VolumeId,
        options: &VolumeOptions,
        owner: Option<(u32, u32)>,
    ) -> Result<Change, BackendError> {
        if self.is_made(op, volume).await? {
            return Ok(Change::None);
        }
        self.stage_empty(volume, options.compression, owner).await?;
        self.place_staged(op, volume, options.size).await
    }

    /// Whether it was made under this epoch already; one that is there otherwise is in the way.
    pub(crate) async fn is_made(&self, op: &Op, volume: &VolumeId) -> Result<bool, BackendError> {
        let made = match self.find(volume).await? {
            None => false,
            Some((role, sidecar)) => {
                refuse_stale(op, volume, sidecar.epoch)?;
                match role {
                    Role::Live if op.epoch == sidecar.epoch => true,
                    Role::Live => {
                        return Err(wrong_role(volume, "live at an older epoch", "absent"));
                    }
                    Role::Sealed | Role::Replica => {
                        return Err(wrong_role(volume, role_name(role), "absent"));
                    }
                }
            }
        };
        // Finishes it, or the removal of an earlier volume of this id.
        self.settle(volume).await?;
        Ok(made)
    }

    /// What was staged becomes a live volume.
    pub(crate) async fn place_staged(
        &self,
        op: &Op,
        volume: &VolumeId,
        size: ByteSize,
    ) -> Result<Change, BackendError> {
        self.steps.done("staged")?;
        let live = Sidecar::new(Want::Role(Role::Live), op.epoch, size);
        self.decide(volume, live).await?;
        self.steps.done("decided")?;
        self.settle(volume).await?;
        Ok(Change::Made)
    }

    async fn stage_empty(
        &self,
        volume: &VolumeId,
        compression: Option<Compression>,
        owner: Option<(u32, u32)>,
    ) -> Result<(), BackendError> {
        let staging = self.layout().staging(volume);
        self.btrfs().delete_rubbish(std::slice::from_ref(&staging)).await?;
        self.btrfs().create(&staging).await?;
        self.steps.done("made")?;
        let (id, action) = (volume.clone(), format!("could not fill the new volume `{volume}`"));
        self.files(&action, &staging, move |staging| {
            let (data, marker) = (data(staging), marker(staging));
            fs::create_dir(&data)?;
            if let Some((user, group)) = owner {
                chown(&data, Some(user), Some(group))?;
            }
            if let Some(how) = compression {
                // Every file that is made below it inherits this, on every node: a stream carries it.
                setxattr(
                    &data,
                    "btrfs.compression",
                    property(how).as_bytes(),
                    XattrFlags::empty(),
                )?;
            }
            if let Some(folder) = marker.parent() {
                fs::create_dir(folder)?;
            }
            File::create(&marker)?.write_all(id.as_str().as_bytes())?;
            // The new subvolume and its three names must be on the disk before the sidecar is. Only a flush of the whole
            // pool promises that for names across subvolumes; nobody waits for a create as they do for a move.
            Ok(rustix::fs::syncfs(File::open(staging)?)?)
        })
        .await
    }

    pub(crate) async fn resize(
        &self,
        op: &Op,
        volume: &VolumeId,
        size: ByteSize,
    ) -> Result<Change, BackendError> {
        let (role, sidecar) = self.need(volume).await?;
        refuse_stale(op, volume, sidecar.epoch)?;
        match role {
            Role::Live => {}
            Role::Sealed | Role::Replica => {
                return Err(wrong_role(volume, role_name(role), "live"));
            }
        }
        let change = if sidecar.size == size { Change::None } else { Change::Made };
        if change == Change::Made {
            self.decide(volume, Sidecar { size, ..sidecar }).await?;
            self.steps.done("decided")?;
        }
        self.settle(volume).await?;
        Ok(change)
    }

    pub(crate) async fn destroy(&self, op: &Op, volume: &VolumeId) -> Result<Change, BackendError> {
        let change = match self.need_whole(volume).await {
            Err(BackendError::NoSuchVolume(_)) => Change::None,
            found => {
                let (_, sidecar) = found?;
                refuse_stale(op, volume, sidecar.epoch)?;
                self.entry(volume).slot.stop().await;
                self.decide(volume, Sidecar::new(Want::Gone, op.epoch, sidecar.size)).await?;
                self.steps.done("decided")?;
                Change::Made
            }
        };
        self.settle(volume).await?;
        Ok(change)
    }

    pub(crate) async fn attach(
        &self,
        op: &Op,
        volume: &VolumeId,
    ) -> Result<Attachment, BackendError> {
        self.must_be_live(op, volume).await?;
        let (live, id) = (self.layout().live(volume), volume.clone());
        // What an earlier change decided and could not finish is finished first: the folder in place may be the old one,
        // or still be read-only.
        if self.btrfs().is_there(&self.layout().staging(volume))?
            || rustix::fs::access(&live, Access::WRITE_OK).is_err()
        {
            self.settle(volume).await?;
        }
        let action = format!("could not attach volume `{volume}`");
        self.files(&action, &live, move |live| {
            check_marker(live, &id)?;
            let path = data(live);
            let metadata = fs::metadata(&path)?;
            Ok(Attachment { device: metadata.dev(), inode: metadata.ino(), path })
        })
        .await
    }

    /// What is known of a volume that is live at this very epoch.
    pub(crate) async fn must_be_live(
        &self,
        op: &Op,
        volume: &VolumeId,
    ) -> Result<Sidecar, BackendError> {
        let (role, sidecar) = self.need(volume).await?;
        refuse_stale(op, volume, sidecar.epoch)?;
        match role {
            Role::Live if op.epoch == sidecar.epoch => Ok(sidecar),
            Role::Live => {
                Err(wrong_role(volume, "live at an older epoch", "live at the epoch asked for"))
            }
            Role::Sealed | Role::Replica => Err(wrong_role(volume, role_name(role), "live")),
        }
    }

    pub(crate) async fn seal(&self, op: &Op, volume: &VolumeId) -> Result<Change, BackendError> {
        let (role, sidecar) = self.need_whole(volume).await?;
        refuse_stale(op, volume, sidecar.epoch)?;
        let change = match role {
            Role::Live => Change::Made,
            Role::Sealed if sidecar.epoch == op.epoch => Change::None,
            Role::Sealed => return Err(wrong_role(volume, "sealed at an older epoch", "live")),
            Role::Replica => return Err(wrong_role(volume, role_name(role), "live")),
        };
        if change == Change::Made {
            // First the word, then the deed: once the sidecar says sealed, nobody attaches it any more.
            let sealed = Sidecar { want: Want::Role(Role::Sealed), epoch: op.epoch, ..sidecar };
            self.decide(volume, sealed).await?;
            self.steps.done("decided")?;
        }
        self.settle(volume).await?;
        Ok(change)
    }

    pub(crate) async fn unseal(&self, op: &Op, volume: &VolumeId) -> Result<Change, BackendError> {
        let (role, sidecar) = self.need(volume).await?;
        refuse_stale(op, volume, sidecar.epoch)?;
        if op.epoch != sidecar.epoch {
            return Err(wrong_role(volume, "at an older epoch", "sealed at the epoch asked for"));
        }
        let change = match role {
            Role::Live => Change::None,
            Role::Sealed => Change::Made,
            Role::Replica => return Err(wrong_role(volume, role_name(role), "sealed")),
        };
        if change == Change::Made {
            // A promotion that failed half-way may have staged older content, which must not be put in place now.
            self.clear_staging(volume).await?;
            self.decide(volume, Sidecar { want: Want::Role(Role::Live), ..sidecar }).await?;
            self.steps.done("decided")?;
        }
        self.settle(volume).await?;
        Ok(change)
    }

    pub(crate) async fn promote(
        &self,
        op: &Op,
        volume: &VolumeId,
        at: &Point,
    ) -> Result<Change, BackendError> {
        let (role, sidecar) = self.need(volume).await?;
        match role {
            Role::Live if op.epoch == sidecar.epoch => {
                self.settle(volume).await?;
                return Ok(Change::None);
            }
            Role::Live => {
                refuse_stale(op, volume, sidecar.epoch)?;
                return Err(wrong_role(volume, "live at an older epoch", "a replica or sealed"));
            }
            Role::Sealed | Role::Replica => refuse_unless_newer(op, volume, sidecar.epoch)?,
        }
        self.newest_must_be(volume, at).await?;
        if role == Role::Sealed {
            self.refuse_writes_after(volume, at).await?;
        }
        let staging = self.layout().staging(volume);
        self.btrfs().delete_rubbish(std::slice::from_ref(&staging)).await?;
        // A received subvolume must never be made writable itself: it would keep the identity of what it no longer is,
        // and later streams would be applied to the wrong content.
        self.btrfs()
            .snapshot_writable(&self.layout().snapshot(volume, &at.tag).join(SNAP), &staging)
            .await?;
        self.steps.done("staged")?;
        let (id, action) = (volume.clone(), format!("could not promote volume `{volume}`"));
        self.files(&action, &staging, move |staging| check_marker(staging, &id)).await?;
        let live = Sidecar { want: Want::Role(Role::Live), epoch: op.epoch, ..sidecar };
        self.entry(volume).slot.stop().await;
        self.decide(volume, live).await?;
        self.steps.done("decided")?;
        self.settle(volume).await?;
        Ok(Change::Made)
    }

    pub(crate) async fn retire(
        &self,
        op: &Op,
        volume: &VolumeId,
        at: &Point,
    ) -> Result<Change, BackendError> {
        let (role, sidecar) = self.need(volume).await?;
        match role {
            Role::Live => {
                refuse_stale(op, volume, sidecar.epoch)?;
                return Err(wrong_role(volume, role_name(role), "sealed"));
            }
            Role::Replica => {
                refuse_stale(op, volume, sidecar.epoch)?;
                self.settle(volume).await?;
                return Ok(Change::None);
            }
            // Under the sealed epoch itself nobody else owns it yet: it may be the only copy.
            Role::Sealed => refuse_unless_newer(op, volume, sidecar.epoch)?,
        }
        self.newest_must_be(volume, at).await?;
        self.refuse_writes_after(volume, at).await?;
        let replica = Sidecar { want: Want::Role(Role::Replica), epoch: op.epoch, ..sidecar };
        self.decide(volume, replica).await?;
        self.steps.done("decided")?;
        self.settle(volume).await?;
        Ok(Change::Made)
    }

    /// A sealed copy may hold what its newest snapshot does not: a process that was not stopped wrote on. Another snapshot
    /// under the same epoch holds that as well.
    async fn refuse_writes_after(&self, volume: &VolumeId, at: &Point) -> Result<(), BackendError> {
        if self.is_covered(volume).await? {
            return Ok(());
        }
        Err(BackendError::Diverged {
            volume: volume.clone(),
            expected: at.tag.to_string(),
            found: "writes after it".to_owned(),
        })
    }

    /// Copies that have a newer snapshot, or another one of that name, have another history.
    async fn newest_must_be(&self, volume: &VolumeId, at: &Point) -> Result<(), BackendError> {
        let points = self.points(volume).await?;
        match points.last() {
            Some((newest, _)) if newest == at => Ok(()),
            Some((newest, _)) => Err(BackendError::Diverged {
                volume: volume.clone(),
                expected: format!("{} {}", at.tag, at.guid),
                found: format!("{} {}", newest.tag, newest.guid),
            }),
            None => {
                Err(BackendError::NoSuchSnapshot { volume: volume.clone(), tag: at.tag.clone() })
            }
        }
    }
}

/// Proves that the subvolume is the volume's, before anything is mounted from it.
fn check_marker(subvolume: &Path, volume: &VolumeId) -> std::io::Result<()> {
    let found = fs::read_to_string(marker(subvolume))?;
    if found == volume.as_str() {
        return Ok(());
    }
    Err(std::io::Error::other(format!("it is marked as volume `{found}`")))
}

/// The nearest that btrfs has: lzo is its fast one, and `none` keeps its own guesses away too.
fn property(how: Compression) -> &'static str {
    match how {
        Compression::Off => "none",
        Compression::Lz4 => "lzo",
        Compression::Zstd => "zstd",
    }
}
