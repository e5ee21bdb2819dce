//! What a copy of a volume is: the document that the array keeps for it. Its disks mean nothing without it.

use serde::{Deserialize, Serialize};

use crate::{
    Answer,
    bindings::exports::flocker::plugin::storage_backend::{Point, SnapshotInfo, VolumeInfo},
    coded, failure,
};

const VERSION: u32 = 1;
/// Registered in wit/codes.md.
const CODE_DIVERGED: u32 = 13;

/// What may be done with a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    Live,
    Sealed,
    Replica,
    /// It is being removed.
    Gone,
}

/// A snapshot that counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) tag: String,
    pub(crate) guid: String,
    pub(crate) disk: String,
    pub(crate) taken_ms: u64,
    pub(crate) bytes: u64,
    /// Taken since the seal: the live disk holds no more than this.
    pub(crate) sealed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Copy {
    version: u32,
    pub(crate) role: Role,
    pub(crate) epoch: u64,
    pub(crate) size: u64,
    /// The owner's disk; none where this is a replica.
    pub(crate) live: Option<String>,
    /// The disk that the host is filling, and when it was made.
    pub(crate) incoming: Option<(String, u64)>,
    /// Oldest first.
    pub(crate) snapshots: Vec<Kept>,
}

impl Copy {
    pub(crate) fn new(role: Role, epoch: u64, size: u64) -> Self {
        let (live, incoming, snapshots) = (None, None, Vec::new());
        Self { version: VERSION, role, epoch, size, live, incoming, snapshots }
    }

    pub(crate) fn names(&self, disk: &str) -> bool {
        self.live.as_deref() == Some(disk)
            || self.incoming.as_ref().is_some_and(|(incoming, _)| incoming == disk)
            || self.snapshots.iter().any(|kept| kept.disk == disk)
    }

    pub(crate) fn info(&self, name: &str) -> VolumeInfo {
        VolumeInfo {
            name: name.to_owned(),
            role: match self.role {
                Role::Live => 0,
                Role::Sealed => 1,
                Role::Replica | Role::Gone => 2,
            },
            epoch: self.epoch,
            size_bytes: self.size,
            // What the array does not know: the size as it was in the newest snapshot.
            used_bytes: self.snapshots.last().map_or(0, |newest| newest.bytes),
            attrs: Vec::new(),
        }
    }

    pub(crate) fn kept(&self, at: &Point) -> Answer<&Kept> {
        let kept = self.snapshots.iter().find(|kept| kept.tag == at.tag && kept.guid == at.guid);
        kept.ok_or_else(|| failure(format!("there is no snapshot `{}` {}", at.tag, at.guid)))
    }

    pub(crate) fn listed(&self, after: Option<&str>, limit: u32) -> Vec<SnapshotInfo> {
        let from = after.and_then(|tag| self.snapshots.iter().position(|kept| kept.tag == tag));
        let rest = self.snapshots.iter().skip(from.map_or(0, |at| at + 1));
        rest.take(limit as usize).map(Kept::info).collect()
    }
}

impl Kept {
    /// A sealed copy whose live disk may hold more than this snapshot must not lose that disk.
    pub(crate) fn refuse_unless_sealed(&self) -> Answer<()> {
        if self.sealed {
            return Ok(());
        }
        Err(coded(CODE_DIVERGED, format!("it may hold more than snapshot `{}`", self.tag)))
    }

    pub(crate) fn info(&self) -> SnapshotInfo {
        SnapshotInfo {
            at: Point { tag: self.tag.clone(), guid: self.guid.clone() },
            taken_ms: self.taken_ms,
            referenced_bytes: self.bytes,
            attrs: Vec::new(),
        }
    }
}
