//! What a copy of a volume is, as it is written down beside its disks. They mean nothing without it.

use serde::{Deserialize, Serialize};

use super::{Answer, DIVERGED, STALE, coded, failure};
use crate::bindings::backend::exports::flocker::plugin::storage_backend::{
    Op, Point, SnapshotInfo, VolumeInfo,
};

/// A volume's document. A driver keeps it, as JSON or by serde, and asks nothing of it but the epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    version: Version,
    /// How often it was replaced, itself included. Disks are made for one change, so none is taken for another's.
    pub(super) changes: u64,
    pub(super) role: Role,
    pub(super) epoch: u64,
    pub(super) size: u64,
    /// The owner's disk; none where this is a replica.
    pub(super) live: Option<String>,
    /// The disk that the host is filling.
    pub(super) incoming: Option<Incoming>,
    /// Oldest first.
    pub(super) snapshots: Vec<Kept>,
}

/// What may be done with a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Role {
    Live,
    Sealed,
    Replica,
    /// It is being removed.
    Gone,
}

/// A snapshot that counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) tag: String,
    pub(super) guid: String,
    pub(super) disk: String,
    pub(super) taken_ms: u64,
    /// The size of its disk.
    pub(super) size: u64,
    /// What is in it.
    pub(super) bytes: u64,
    /// Taken since the seal: the live disk holds no more than this.
    pub(super) sealed: bool,
}

/// A snapshot that does not count yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Incoming {
    pub(super) disk: String,
    pub(super) made_ms: u64,
}

/// The form of documents. Another one is damage to this program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
struct Version;

impl TryFrom<u32> for Version {
    type Error = String;

    fn try_from(version: u32) -> Result<Self, String> {
        if version == 1 { Ok(Self) } else { Err(format!("it has version {version}")) }
    }
}

impl From<Version> for u32 {
    fn from(Version: Version) -> Self {
        1
    }
}

impl Document {
    pub(super) fn new(role: Role, epoch: u64, size: u64) -> Self {
        let (live, incoming, snapshots) = (None, None, Vec::new());
        Self { version: Version, changes: 0, role, epoch, size, live, incoming, snapshots }
    }

    /// The newest epoch that the copy has seen. Storage that several nodes reach refuses a document of an older one.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Reads what [`Document::to_json`] made.
    ///
    /// # Errors
    /// How it is damaged.
    pub fn from_json(json: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(json).map_err(|error| error.to_string())
    }

    /// JSON in UTF-8, on one line. It grows by some 200 bytes with each snapshot.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn to_json(&self) -> Answer<Vec<u8>> {
        serde_json::to_vec(self).map_err(|error| failure(error.to_string()))
    }

    pub(super) fn is_gone(&self) -> bool {
        self.role == Role::Gone
    }

    /// The check that every change begins with.
    pub(super) fn refuse_stale(&self, op: &Op) -> Answer<()> {
        if op.epoch < self.epoch {
            let (there, asked) = (self.epoch, op.epoch);
            return Err(coded(STALE, format!("it is at epoch {there}, asked for was {asked}")));
        }
        Ok(())
    }

    /// All disks that it names.
    pub(super) fn disks(&self) -> impl Iterator<Item = &str> {
        let incoming = self.incoming.iter().map(|incoming| incoming.disk.as_str());
        let kept = self.snapshots.iter().map(|kept| kept.disk.as_str());
        self.live.as_deref().into_iter().chain(incoming).chain(kept)
    }

    pub(super) fn tagged(&self, tag: &str) -> Option<&Kept> {
        self.snapshots.iter().find(|kept| kept.tag == tag)
    }

    pub(super) fn kept(&self, at: &Point) -> Answer<&Kept> {
        let kept = self.snapshots.iter().find(|kept| kept.is(at));
        kept.ok_or_else(|| failure(format!("there is no snapshot `{}` {}", at.tag, at.guid)))
    }

    pub(super) fn info(&self, name: &str) -> VolumeInfo {
        VolumeInfo {
            name: name.to_owned(),
            role: match self.role {
                Role::Live => 0,
                Role::Sealed => 1,
                Role::Replica | Role::Gone => 2,
            },
            epoch: self.epoch,
            size_bytes: self.size,
            // As it was in the newest snapshot: counting a folder takes longer than anybody waits, and an array does not
            // know what of a disk is used.
            used_bytes: self.snapshots.last().map_or(0, |newest| newest.bytes),
            attrs: Vec::new(),
        }
    }

    /// A page of the snapshots, oldest first.
    pub(super) fn listed(&self, after: Option<&str>, limit: u32) -> Vec<SnapshotInfo> {
        let from = after.and_then(|tag| self.snapshots.iter().position(|kept| kept.tag == tag));
        let rest = self.snapshots.iter().skip(from.map_or(0, |at| at + 1));
        rest.take(limit as usize).map(Kept::info).collect()
    }
}

impl Kept {
    pub(super) fn is(&self, at: &Point) -> bool {
        self.tag == at.tag && self.guid == at.guid
    }

    /// A sealed copy whose live disk may hold more than this snapshot must not lose that disk.
    pub(super) fn refuse_unless_sealed(&self) -> Answer<()> {
        if self.sealed {
            return Ok(());
        }
        Err(coded(DIVERGED, format!("it may hold more than snapshot `{}`", self.tag)))
    }

    pub(super) fn info(&self) -> SnapshotInfo {
        SnapshotInfo {
            at: Point { tag: self.tag.clone(), guid: self.guid.clone() },
            taken_ms: self.taken_ms,
            referenced_bytes: self.bytes,
            attrs: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(tag: &str) -> Kept {
        let (tag, guid, disk) = (tag.to_owned(), format!("g-{tag}"), format!("d-{tag}"));
        Kept { tag, guid, disk, taken_ms: 1, size: 3, bytes: 2, sealed: true }
    }

    #[test]
    fn what_was_written_is_read_again_and_damage_is_named() {
        let mut document = Document::new(Role::Sealed, 3, 7);
        document.snapshots.push(kept("a"));
        document.incoming = Some(Incoming { disk: "d".to_owned(), made_ms: 4 });
        let json = document.to_json().unwrap();
        assert_eq!(Document::from_json(&json).unwrap(), document);

        let json = String::from_utf8(json).unwrap();
        for (bad, word) in [
            (String::new(), "EOF"),
            (json[..json.len() / 2].to_owned(), "EOF"),
            (json.replace(r#""version":1"#, r#""version":2"#), "it has version 2"),
            (json.replace("sealed", "sold"), "sold"),
        ] {
            let said = Document::from_json(bad.as_bytes()).unwrap_err();
            assert!(said.contains(word), "{said}");
        }
    }

    #[test]
    fn pages_go_on_after_a_tag_in_the_order_in_which_they_were_taken() {
        let mut document = Document::new(Role::Live, 1, 1);
        document.snapshots.extend(["z", "a", "m"].map(kept));
        let tags = |after, limit| {
            document.listed(after, limit).into_iter().map(|s| s.at.tag).collect::<Vec<_>>()
        };
        assert_eq!(tags(None, 2), ["z", "a"]);
        assert_eq!(tags(Some("a"), 2), ["m"]);
        assert_eq!(tags(Some("m"), 2), [""; 0]);
    }
}
