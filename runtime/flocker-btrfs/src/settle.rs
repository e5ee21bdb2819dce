//! Makes a volume what its sidecar says, and a pool what its sidecars say. May be run any number of times.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use flocker_model::{Epoch, Role, VolumeId};
use flocker_ports::BackendError;

use crate::{
    backend::Node,
    layout::SNAP,
    sidecar::{self, Sidecar, Want, gone_is_fine},
};

impl Node {
    /// Makes the volume what its sidecar says. Without a sidecar, what was staged for it is rubbish.
    pub(crate) async fn settle(&self, volume: &VolumeId) -> Result<(), BackendError> {
        let sidecar = sidecar::read(self.layout(), volume)?;
        match sidecar {
            None => self.clear_staging(volume).await,
            Some(sidecar) => match sidecar.want {
                Want::Role(Role::Live) => {
                    self.finish_rollback(volume, &sidecar).await?;
                    self.settle_live(volume, &sidecar).await
                }
                Want::Role(Role::Sealed) => {
                    self.clear_staging(volume).await?;
                    self.btrfs().set_read_only(&self.layout().live(volume), true).await
                }
                Want::Role(Role::Replica) => {
                    self.clear_staging(volume).await?;
                    self.put_away_live(volume, sidecar.epoch).await
                }
                Want::Gone => self.settle_gone(volume).await,
            },
        }
    }

    pub(crate) async fn clear_staging(&self, volume: &VolumeId) -> Result<(), BackendError> {
        self.btrfs().delete_rubbish(&[self.layout().staging(volume)]).await
    }

    async fn settle_live(&self, volume: &VolumeId, sidecar: &Sidecar) -> Result<(), BackendError> {
        let (live, staging) = (self.layout().live(volume), self.layout().staging(volume));
        if self.btrfs().is_there(&staging)? {
            self.btrfs().limit(&staging, sidecar.size).await?;
            self.put_away_live(volume, sidecar.epoch).await?;
            self.steps.done("put away")?;
            // Not flushed: after a power cut that undid the rename, the next open does it again.
            let action = format!("could not put volume `{volume}` in its place");
            self.files(&action, &staging, move |staging| fs::rename(staging, live)).await?;
        } else if self.btrfs().is_there(&live)? {
            self.btrfs().set_read_only(&live, false).await?;
            self.btrfs().limit(&live, sidecar.size).await?;
        } else {
            return Err(BackendError::Failed {
                action: format!("could not find the data of volume `{volume}`"),
                reason: format!(
                    "`{}` is missing\nhint: someone removed it; restore the volume from a replica or a backup",
                    live.display()
                ),
            });
        }
        // A copy that was promoted in the middle of a receive has no use for what came so far.
        self.discard_incoming(volume).await
    }

    /// The live data has no place any more. What a snapshot holds is removed; anything else is kept under another name.
    async fn put_away_live(&self, volume: &VolumeId, epoch: Epoch) -> Result<(), BackendError> {
        let live = self.layout().live(volume);
        if self.is_covered(volume).await? {
            return self.btrfs().delete_rubbish(&[live]).await;
        }
        let id = self.btrfs().show(&live).await?.map_or(0, |subvolume| subvolume.id);
        let kept = self.layout().kept(volume, epoch, id);
        tracing::error!(%volume, kept = %kept.display(), "the volume had writes that no snapshot holds; kept them");
        // A read-only subvolume cannot be moved to another folder.
        self.btrfs().set_read_only(&live, false).await?;
        let (action, target) =
            (format!("could not put data of volume `{volume}` aside"), kept.clone());
        self.files(&action, &live, move |live| fs::rename(live, target)).await?;
        self.btrfs().set_read_only(&kept, true).await
    }

    /// Whether the newest snapshot holds everything that was ever written to the live subvolume.
    ///
    /// A process that had a file open when the volume was sealed may still write to it: the kernel asks for permission
    /// at `open` only. Such writes show in the generation once they are flushed, so they are flushed first.
    pub(crate) async fn is_covered(&self, volume: &VolumeId) -> Result<bool, BackendError> {
        let live = self.layout().live(volume);
        if !self.btrfs().is_there(&live)? {
            return Ok(true);
        }
        let action = format!("could not flush volume `{volume}`");
        self.files(&action, &live, |live| Ok(rustix::fs::syncfs(fs::File::open(live)?)?)).await?;
        let Some(live) = self.btrfs().show(&live).await? else { return Ok(true) };
        let points = self.points(volume).await?;
        Ok(points.last().is_some_and(|(_, snapshot)| {
            let taken_of_it = snapshot.parent.as_deref() == Some(live.uuid.as_str());
            let made_from_it = live.parent.as_deref() == Some(snapshot.uuid.as_str());
            (taken_of_it && live.generation <= snapshot.generation_made)
                || (made_from_it && live.generation <= live.generation_made)
        }))
    }

    async fn settle_gone(&self, volume: &VolumeId) -> Result<(), BackendError> {
        self.clear_staging(volume).await?;
        let (live, mut doomed) = (self.layout().live(volume), self.nested(volume).await?);
        if !doomed.is_empty() {
            // Nothing can be removed from inside a subvolume that is read-only.
            self.btrfs().set_read_only(&live, false).await?;
        }
        doomed.push(live);
        self.btrfs().delete(&doomed).await?;
        self.steps.done("removed live")?;
        let snapshots = self.layout().snapshots(volume);
        let folders = list(&snapshots)
            .map_err(|error| self.btrfs().io("could not list snapshots", &snapshots, &error))?;
        let which: Vec<PathBuf> =
            folders.iter().map(|tag| snapshots.join(tag).join(SNAP)).collect();
        self.btrfs().delete(&which).await?;
        self.steps.done("removed snapshots")?;
        self.discard_incoming(volume).await?;
        let (layout, id) = (self.layout().clone(), volume.clone());
        let action = format!("could not remove the last of volume `{volume}`");
        self.files(&action, &snapshots, move |snapshots| {
            for tag in list(snapshots)? {
                gone_is_fine(fs::remove_dir(snapshots.join(tag)))?;
            }
            gone_is_fine(fs::remove_dir(snapshots))?;
            sidecar::remove(&layout, &id)
        })
        .await
    }

    /// Finishes or removes what a crash left. Answers what an operator should know: one line per volume that could not
    /// be put in order, and per subvolume that was put aside.
    pub(crate) async fn repair(&self) -> Result<Vec<String>, BackendError> {
        if let Err(error) = sidecar::fill_reserve(self.layout()) {
            tracing::warn!(pool = self.btrfs().pool, %error, "the pool has no space to set aside for sidecars");
        }
        let mut troubles = self.finish_groups().await?;
        for name in self.names_in("meta")? {
            let name = name.to_string_lossy().into_owned();
            // What `replace` left unfinished.
            if name.ends_with(".new") {
                let path = self.layout().meta().join(&name);
                self.files("could not remove", &path, |path| gone_is_fine(fs::remove_file(path)))
                    .await?;
            }
        }
        for folder in ["meta", "staging"] {
            for volume in self.volumes_in(folder)? {
                if let Err(error) = self.settle(&volume).await {
                    troubles.push(format!("volume `{volume}`: {error}"));
                }
            }
        }
        for volume in self.volumes_in("incoming")? {
            if let Err(error) = self.tidy_incoming(&volume).await {
                troubles.push(format!("volume `{volume}`: {error}"));
            }
        }
        for volume in self.volumes_in("snapshots")? {
            self.clear_empty_folders(&volume).await?;
        }
        let mut lost = self.volumes_in("live")?;
        lost.extend(self.volumes_in("snapshots")?);
        lost.sort();
        lost.dedup();
        for volume in lost {
            if matches!(sidecar::read(self.layout(), &volume), Ok(None)) {
                let sidecar = self.layout().sidecar(&volume);
                troubles.push(format!(
                    "volume `{volume}` has data but no sidecar `{}`; left as it is",
                    sidecar.display()
                ));
            }
        }
        self.clear_old_quotas().await;
        Ok(troubles)
    }

    /// Data that was put aside, one line each, until an operator removes it.
    pub(crate) fn kept(&self) -> Vec<String> {
        let names = self.names_in("kept").unwrap_or_default();
        let path = |name| self.layout().root().join("kept").join(name);
        names
            .into_iter()
            .map(|name| {
                let kept = path(name).display().to_string();
                format!(
                    "`{kept}` holds writes that no snapshot has\nhint: save what is of use, then remove it with `btrfs \
                     subvolume delete {kept}`"
                )
            })
            .collect()
    }

    /// The folder around a snapshot is made before it and removed after it. Those with something in them are spared.
    pub(crate) async fn clear_empty_folders(&self, volume: &VolumeId) -> Result<(), BackendError> {
        let folder = self.layout().snapshots(volume);
        self.files("could not tidy", &folder, |folder| {
            for tag in list(folder)? {
                let _ = fs::remove_dir(folder.join(tag));
            }
            Ok(())
        })
        .await
    }

    /// Kernels before 6.11 keep the quota group of a removed subvolume for ever. Losing one is no harm, but those of an
    /// operator's filesystem are not ours to remove.
    async fn clear_old_quotas(&self) {
        if self.pool.mounted.is_none() {
            return;
        }
        let root = self.layout().root();
        let (Ok(groups), Ok(subvolumes)) =
            tokio::join!(self.btrfs().referenced(root), self.btrfs().list(root))
        else {
            return;
        };
        let kept = |id: &u64| *id < 256 || subvolumes.iter().any(|subvolume| subvolume.id == *id);
        for id in groups.keys().filter(|id| !kept(id)) {
            let group = format!("0/{id}");
            let args = ["qgroup".as_ref(), "destroy".as_ref(), group.as_ref(), root.as_os_str()];
            if let Err(error) = self.btrfs().run("could not remove an old quota", &args).await {
                tracing::debug!("{error}");
            }
        }
    }

    pub(crate) fn names_in(&self, folder: &str) -> Result<Vec<OsString>, BackendError> {
        let path = self.layout().root().join(folder);
        list(&path).map_err(|error| self.btrfs().io("could not list", &path, &error))
    }

    /// The volumes that a folder of the pool names. Names that are none of ours are left alone.
    pub(crate) fn volumes_in(&self, folder: &str) -> Result<Vec<VolumeId>, BackendError> {
        let names = self.names_in(folder)?;
        let volume = |name: &OsString| {
            let name = name.to_str()?;
            let name = if folder == "meta" { name.strip_suffix(".json")? } else { name };
            VolumeId::new(name).ok()
        };
        Ok(names.iter().filter_map(volume).collect())
    }
}

/// The names in a folder, sorted; none where there is no folder.
pub(crate) fn list(folder: &Path) -> io::Result<Vec<OsString>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}
