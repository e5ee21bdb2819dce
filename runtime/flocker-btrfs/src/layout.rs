//! Where everything is in a pool. Knows names, touches nothing.

use std::path::{Path, PathBuf};

use flocker_model::{Epoch, SnapshotTag, VolumeId};

/// The paths of one pool.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    root: PathBuf,
}

/// The subvolume inside the folder of a snapshot. Streams carry this name, so a receiver knows what will appear.
pub(crate) const SNAP: &str = "snap";

impl Layout {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The folders that every pool has.
    pub(crate) fn folders(&self) -> [PathBuf; 7] {
        ["live", "staging", "snapshots", "groups", "incoming", "kept", "meta"]
            .map(|name| self.root.join(name))
    }

    pub(crate) fn live(&self, volume: &VolumeId) -> PathBuf {
        self.root.join("live").join(volume.as_str())
    }

    pub(crate) fn staging(&self, volume: &VolumeId) -> PathBuf {
        self.root.join("staging").join(volume.as_str())
    }

    /// All snapshots of a volume.
    pub(crate) fn snapshots(&self, volume: &VolumeId) -> PathBuf {
        self.root.join("snapshots").join(volume.as_str())
    }

    /// The folder of one snapshot; the subvolume is [`SNAP`] inside.
    pub(crate) fn snapshot(&self, volume: &VolumeId, tag: &SnapshotTag) -> PathBuf {
        self.snapshots(volume).join(tag.as_str())
    }

    pub(crate) fn groups(&self) -> PathBuf {
        self.root.join("groups")
    }

    pub(crate) fn incoming(&self, volume: &VolumeId) -> PathBuf {
        self.root.join("incoming").join(volume.as_str())
    }

    /// A name for live data that is put aside: which volume, until which epoch, which subvolume.
    pub(crate) fn kept(&self, volume: &VolumeId, epoch: Epoch, id: u64) -> PathBuf {
        self.root.join("kept").join(format!("{volume}@{epoch}.{id}"))
    }

    pub(crate) fn meta(&self) -> PathBuf {
        self.root.join("meta")
    }

    /// Space that is set aside for the sidecars.
    pub(crate) fn reserve(&self) -> PathBuf {
        self.meta().join("reserve")
    }

    pub(crate) fn sidecar(&self, volume: &VolumeId) -> PathBuf {
        self.meta().join(format!("{volume}.json"))
    }
}

/// What containers see of a live subvolume.
pub(crate) fn data(subvolume: &Path) -> PathBuf {
    subvolume.join("data")
}

/// The file that proves whose subvolume it is. It travels with the data.
pub(crate) fn marker(subvolume: &Path) -> PathBuf {
    subvolume.join(".flocker/volume")
}
