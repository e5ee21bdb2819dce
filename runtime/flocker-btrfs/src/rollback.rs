//! Back to a snapshot: the live subvolume and the later snapshots get the name of another volume, and a writable snapshot
//! takes their place.
//!
//! The sidecar of the volume says that it goes back until all that was before has its new name; from then on it is a volume
//! with something staged, as any other.

use std::{fs, io};

use flocker_model::{Guid, Point, Role, SnapshotTag, VolumeId};
use flocker_ports::{BackendError, Change, Op};

use crate::{
    backend::Node,
    layout::marker,
    roles::{role_name, wrong_role},
    sidecar::{Rollback, Sidecar},
};

impl Node {
    pub(crate) async fn rollback(
        &self,
        op: &Op,
        volume: &VolumeId,
        to: &Point,
        kept: &VolumeId,
    ) -> Result<Change, BackendError> {
        let sidecar = self.must_be_live(op, volume).await?;
        // What an earlier change decided and could not finish is finished first.
        self.settle(volume).await?;
        let rollback = Rollback {
            volume: volume.to_string(),
            tag: to.tag.to_string(),
            guid: to.guid.to_string(),
            kept: kept.to_string(),
        };
        match self.find(kept).await? {
            Some((_, left)) if left.rollback.as_ref() == Some(&rollback) => {
                return Ok(Change::None);
            }
            Some((role, _)) => return Err(wrong_role(kept, role_name(role), "absent")),
            // Finishes the removal of an earlier volume of this id.
            None => self.settle(kept).await?,
        }
        // Under the other name: what is staged for a live volume takes its place.
        self.stage_snapshot(volume, to, volume, kept).await?;
        self.steps.done("staged")?;
        self.decide(volume, Sidecar { rollback: Some(rollback), ..sidecar }).await?;
        self.steps.done("decided")?;
        self.settle(volume).await?;
        Ok(Change::Made)
    }

    /// Gives what a volume was until it went back to its new name, if the sidecar says that it goes back.
    pub(crate) async fn finish_rollback(
        &self,
        volume: &VolumeId,
        sidecar: &Sidecar,
    ) -> Result<(), BackendError> {
        let Some((to, kept)) = pending(volume, sidecar) else { return Ok(()) };
        let action = format!("could not keep what volume `{volume}` was");
        let points = self.points(volume).await?;
        let Some(at) = points.iter().position(|(point, _)| *point == to) else {
            return Err(BackendError::NoSuchSnapshot { volume: volume.clone(), tag: to.tag });
        };
        self.place_stage(volume, &to, &kept).await?;
        let (live, target) = (self.layout().live(volume), self.layout().live(&kept));
        let id = kept.clone();
        self.files(&action, &live, move |live| {
            if !target.exists() {
                fs::rename(live, &target)?;
            }
            fs::write(marker(&target), id.as_str())
        })
        .await?;
        self.steps.done("renamed")?;
        for (point, _) in &points[at + 1..] {
            let source = self.layout().snapshot(volume, &point.tag);
            let (folder, target) =
                (self.layout().snapshots(&kept), self.layout().snapshot(&kept, &point.tag));
            self.files(&action, &source, move |source| {
                fs::create_dir_all(folder)?;
                fs::rename(source, target)
            })
            .await?;
            self.steps.done("renamed one")?;
        }
        // All of these names reach the disk before the word that they are there.
        let root = self.layout().root();
        self.files(&action, root, |root| -> io::Result<()> {
            Ok(rustix::fs::syncfs(fs::File::open(root)?)?)
        })
        .await?;
        self.decide(&kept, sidecar.clone()).await?;
        self.steps.done("kept")?;
        self.decide(volume, Sidecar { rollback: None, ..sidecar.clone() }).await?;
        self.steps.done("went back")
    }

    /// Has what the volume goes back to staged for it.
    async fn place_stage(
        &self,
        volume: &VolumeId,
        to: &Point,
        kept: &VolumeId,
    ) -> Result<(), BackendError> {
        let (made, target) = (self.layout().staging(kept), self.layout().staging(volume));
        if self.btrfs().is_there(&made)? {
            let action = format!("could not stage volume `{volume}`");
            return self.files(&action, &made, move |made| fs::rename(made, target)).await;
        }
        if self.btrfs().is_there(&target)? {
            return Ok(());
        }
        self.stage_snapshot(volume, to, volume, volume).await
    }

    /// As [`Node::need`]; a way back that could not be finished is finished first.
    pub(crate) async fn need_whole(
        &self,
        volume: &VolumeId,
    ) -> Result<(Role, Sidecar), BackendError> {
        let (role, sidecar) = self.need(volume).await?;
        if pending(volume, &sidecar).is_none() {
            return Ok((role, sidecar));
        }
        self.settle(volume).await?;
        self.need(volume).await
    }
}

/// Where a volume goes back to, and what it was until then, if it is on its way.
fn pending(volume: &VolumeId, sidecar: &Sidecar) -> Option<(Point, VolumeId)> {
    let rollback =
        sidecar.rollback.as_ref().filter(|rollback| rollback.volume == volume.as_str())?;
    let to = Point {
        tag: SnapshotTag::new(rollback.tag.clone()).ok()?,
        guid: Guid(rollback.guid.clone()),
    };
    Some((to, VolumeId::new(rollback.kept.clone()).ok()?))
}
