//! What a copy of a volume is: the small file beside its folders.

use serde::{Deserialize, Serialize};

use crate::{
    Answer,
    bindings::exports::flocker::plugin::storage_backend::{Op, Point, SnapshotInfo, VolumeInfo},
    coded, failure,
};

const VERSION: u32 = 1;
/// Registered in wit/codes.md.
const CODE_STALE: u32 = 10;
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
    pub(crate) taken_ms: u64,
    pub(crate) bytes: u64,
    /// Taken since the seal: the live folder holds no more than this.
    pub(crate) sealed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct About {
    version: u32,
    pub(crate) role: Role,
    pub(crate) epoch: u64,
    pub(crate) size: u64,
    /// The owner's folder; none where this is a replica.
    pub(crate) live: Option<String>,
    /// Oldest first.
    pub(crate) snapshots: Vec<Kept>,
}

impl About {
    pub(crate) fn new(role: Role, epoch: u64, size: u64) -> Self {
        Self { version: VERSION, role, epoch, size, live: None, snapshots: Vec::new() }
    }

    /// Damage is never taken for absence.
    pub(crate) fn decode(name: &str, bytes: &[u8]) -> Answer<Self> {
        let damaged = |reason: String| {
            failure(format!(
                "`volumes/{name}/about.json` is damaged: {reason}; its folders were left as they are"
            ))
        };
        let about: Self =
            serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
        if about.version != VERSION {
            return Err(damaged(format!("it has version {}", about.version)));
        }
        Ok(about)
    }

    pub(crate) fn encode(&self) -> Answer<Vec<u8>> {
        serde_json::to_vec(self).map_err(|error| failure(error.to_string()))
    }

    /// The check that every change starts with.
    pub(crate) fn refuse_stale(&self, op: &Op) -> Answer<()> {
        if op.epoch < self.epoch {
            let Self { epoch, .. } = self;
            return Err(coded(
                CODE_STALE,
                format!("it is at epoch {epoch}, asked for was {}", op.epoch),
            ));
        }
        Ok(())
    }

    /// The size as it was in the newest snapshot: counting a folder takes longer than anybody waits.
    fn used(&self) -> u64 {
        self.snapshots.last().map_or(0, |newest| newest.bytes)
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
            used_bytes: self.used(),
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
    /// A sealed copy whose live folder may hold more than this snapshot must not lose that folder.
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_again_and_damage_is_named() {
        let mut about = About::new(Role::Sealed, 3, 7);
        about.snapshots.push(Kept {
            tag: "a".to_owned(),
            guid: "g".to_owned(),
            taken_ms: 1,
            bytes: 2,
            sealed: true,
        });
        assert_eq!(About::decode("v", &about.encode().unwrap()).unwrap(), about);
        for bad in [
            "",
            "{",
            r#"{"version":2,"role":"live","epoch":1,"size":1,"live":null,"snapshots":[]}"#,
        ] {
            let said = About::decode("v", bad.as_bytes()).unwrap_err().message;
            assert!(said.contains("volumes/v/about.json"), "{said}");
        }
    }

    #[test]
    fn pages_go_on_after_a_tag() {
        let mut about = About::new(Role::Live, 1, 1);
        for tag in ["z", "a", "m"] {
            let (tag, guid) = (tag.to_owned(), tag.to_owned());
            about.snapshots.push(Kept { tag, guid, taken_ms: 0, bytes: 0, sealed: false });
        }
        let tags = |after, limit| {
            about.listed(after, limit).into_iter().map(|s| s.at.tag).collect::<Vec<_>>()
        };
        assert_eq!(tags(None, 2), ["z", "a"]);
        assert_eq!(tags(Some("a"), 2), ["m"]);
    }
}
