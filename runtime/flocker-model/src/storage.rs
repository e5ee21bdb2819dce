//! What a backend holds: volumes in one of three roles, and snapshots known by their GUID.

use std::fmt;

use crate::{ByteSize, Epoch, SnapshotTag, Timestamp, VolumeId};

/// The identity of a snapshot's content, equal on every copy of it. Names may lie, a GUID does not.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guid(pub String);

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A snapshot as one node tells another about it: name and identity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Point {
    /// Its name.
    pub tag: SnapshotTag,
    /// Its identity.
    pub guid: Guid,
}

/// A snapshot on one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Name and identity.
    pub point: Point,
    /// When it was taken or received, by the node's clock.
    pub taken: Timestamp,
    /// The bytes that it refers to, shared ones included.
    pub referenced: ByteSize,
}

/// What a node may do with its copy of a volume. The ladder of a move: live → sealed → replica → live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Writable: this is the owner's copy.
    Live,
    /// Read-only since the named epoch ended here; may be unsealed at the same epoch, or become a replica.
    Sealed,
    /// A read-only copy at its newest snapshot.
    Replica,
}

/// A volume on one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeState {
    /// Its id.
    pub id: VolumeId,
    /// What may be done with it here.
    pub role: Role,
    /// The newest epoch that this copy has seen; older orders are refused.
    pub epoch: Epoch,
    /// The most that may be written to it.
    pub size: ByteSize,
    /// What is written to it.
    pub used: ByteSize,
}
