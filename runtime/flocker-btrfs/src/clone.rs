//! Clones: a writable snapshot of a snapshot, as a volume of its own. btrfs lets either go without the other.

use std::{fs, fs::File};

use flocker_model::{Point, VolumeId};
use flocker_ports::{BackendError, Change, Op};

use crate::{
    backend::Node,
    layout::{SNAP, marker},
};

impl Node {
    pub(crate) async fn clone_volume(
        &self,
        op: &Op,
        source: &VolumeId,
        at: &Point,
        volume: &VolumeId,
    ) -> Result<Change, BackendError> {
        if self.is_made(op, volume).await? {
            return Ok(Change::None);
        }
        let (_, sidecar) = self.need(source).await?;
        self.stage_snapshot(source, at, volume, volume).await?;
        self.place_staged(op, volume, sidecar.size).await
    }

    /// Makes a writable copy of a snapshot of `source`, marked as `volume`'s, where `place` is staged.
    pub(crate) async fn stage_snapshot(
        &self,
        source: &VolumeId,
        at: &Point,
        volume: &VolumeId,
        place: &VolumeId,
    ) -> Result<(), BackendError> {
        if !self.points(source).await?.iter().any(|(point, _)| point == at) {
            let (volume, tag) = (source.clone(), at.tag.clone());
            return Err(BackendError::NoSuchSnapshot { volume, tag });
        }
        let staging = self.layout().staging(place);
        self.btrfs().delete_rubbish(std::slice::from_ref(&staging)).await?;
        let snapshot = self.layout().snapshot(source, &at.tag).join(SNAP);
        self.btrfs().snapshot_writable(&snapshot, &staging).await?;
        self.steps.done("made")?;
        let (id, action) = (volume.clone(), format!("could not mark the new volume `{volume}`"));
        self.files(&action, &staging, move |staging| {
            fs::write(marker(staging), id.as_str())?;
            // It must be on the disk before the sidecar is, as in a volume that is made empty.
            Ok(rustix::fs::syncfs(File::open(staging)?)?)
        })
        .await
    }
}
