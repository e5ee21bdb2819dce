//! The sidecar of a volume: a small file that says what its copy here should be. Replaced whole, never edited.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use flocker_model::{ByteSize, Epoch, Role, VolumeId};
use flocker_ports::BackendError;
use rustix::fs::FallocateFlags;
use serde::{Deserialize, Serialize};

use crate::{command::io_failure, layout::Layout};

/// What a copy of a volume should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sidecar {
    pub(crate) want: Want,
    pub(crate) epoch: Epoch,
    pub(crate) size: ByteSize,
    /// It is to go back to a snapshot, or it is what another volume was until that went back.
    pub(crate) rollback: Option<Rollback>,
}

/// A way back to a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rollback {
    /// The volume that goes back.
    pub(crate) volume: String,
    /// What the snapshot is called, and its identity.
    pub(crate) tag: String,
    pub(crate) guid: String,
    /// The volume that it was until then.
    pub(crate) kept: String,
}

/// The role that a copy should have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    /// It is to be there, in this role.
    Role(Role),
    /// It is to be removed.
    Gone,
}

/// The file's form. `version` is read first, so that a newer form is refused by name and not misread.
#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    role: String,
    epoch: u64,
    size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rollback: Option<Rollback>,
}

const VERSION: u32 = 1;

impl Sidecar {
    pub(crate) fn new(want: Want, epoch: Epoch, size: ByteSize) -> Self {
        Self { want, epoch, size, rollback: None }
    }

    fn encode(&self) -> io::Result<Vec<u8>> {
        let role = match self.want {
            Want::Role(Role::Live) => "live",
            Want::Role(Role::Sealed) => "sealed",
            Want::Role(Role::Replica) => "replica",
            Want::Gone => "gone",
        };
        let stored = Stored {
            version: VERSION,
            role: role.to_owned(),
            epoch: self.epoch.0,
            size: self.size.0,
            rollback: self.rollback.clone(),
        };
        Ok(serde_json::to_vec(&stored)?)
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        let stored: Stored = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if stored.version != VERSION {
            return Err(format!("it has version {}, this program knows {VERSION}", stored.version));
        }
        let want = match stored.role.as_str() {
            "live" => Want::Role(Role::Live),
            "sealed" => Want::Role(Role::Sealed),
            "replica" => Want::Role(Role::Replica),
            "gone" => Want::Gone,
            other => return Err(format!("`{other}` is no role")),
        };
        let (epoch, size) = (Epoch(stored.epoch), ByteSize(stored.size));
        Ok(Self { want, epoch, size, rollback: stored.rollback })
    }
}

/// Reads the sidecar; `None` where there is none. One that cannot be read is never taken for none.
pub(crate) fn read(layout: &Layout, volume: &VolumeId) -> Result<Option<Sidecar>, BackendError> {
    let path = layout.sidecar(volume);
    let action = || format!("could not read what is known about volume `{volume}`");
    match fs::read(&path) {
        Ok(bytes) => match Sidecar::decode(&bytes) {
            Ok(sidecar) => Ok(Some(sidecar)),
            Err(reason) => Err(BackendError::Failed {
                action: action(),
                reason: format!(
                    "the file `{}` is damaged: {reason}\nhint: the data under `live` and `snapshots` was left as it \
                     is, and other volumes are not affected; put the file back from a backup, or move it away together \
                     with the volume's folders to give the volume up on this node",
                    path.display()
                ),
            }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_failure(&action(), &path, &error)),
    }
}

/// Replaces the sidecar. When this returns, a power cut leaves the new one; when it fails, the old one or the new one.
pub(crate) fn write(layout: &Layout, volume: &VolumeId, sidecar: &Sidecar) -> io::Result<()> {
    let bytes = sidecar.encode()?;
    replace(&layout.sidecar(volume), &bytes)
}

/// Sets space aside for the sidecars, where it is not yet.
pub(crate) fn fill_reserve(layout: &Layout) -> io::Result<()> {
    let file = File::options().create(true).truncate(false).write(true).open(layout.reserve())?;
    Ok(rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, RESERVE)?)
}

/// Writes in the space that was set aside. Without it, a full pool could neither be emptied nor be moved away from.
pub(crate) fn with_reserve(
    layout: &Layout,
    write: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    gone_is_fine(fs::remove_file(layout.reserve()))?;
    // The kernel gives freed space out again only after a commit.
    rustix::fs::syncfs(File::open(layout.meta())?)?;
    write()?;
    if let Err(error) = fill_reserve(layout) {
        tracing::debug!(%error, "could not set space for sidecars aside again");
    }
    Ok(())
}

/// btrfs asks for a block before it finds that so small a file needs none. Several sidecars at once fit.
const RESERVE: u64 = 1 << 20;

/// Removes the sidecar. Not waited for: one that comes back after a power cut says `gone`, and is removed again.
pub(crate) fn remove(layout: &Layout, volume: &VolumeId) -> io::Result<()> {
    gone_is_fine(fs::remove_file(layout.sidecar(volume)))
}

/// Puts `bytes` in the place of the file at `path`, durably and at once.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    match path.parent() {
        Some(folder) => sync_folder(folder),
        None => Ok(()),
    }
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Removing what is gone already is no error.
pub(crate) fn gone_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(epoch: u64) -> Sidecar {
        Sidecar::new(Want::Role(Role::Sealed), Epoch(epoch), ByteSize(7))
    }

    #[test]
    fn what_was_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path().to_owned());
        fs::create_dir(layout.meta()).unwrap();
        let volume = VolumeId::new("v1").unwrap();

        assert_eq!(read(&layout, &volume).unwrap(), None);
        for epoch in [3, 4] {
            write(&layout, &volume, &some(epoch)).unwrap();
            assert_eq!(read(&layout, &volume).unwrap(), Some(some(epoch)));
        }
        remove(&layout, &volume).unwrap();
        remove(&layout, &volume).unwrap();
        assert_eq!(read(&layout, &volume).unwrap(), None);
    }

    #[test]
    fn damage_is_named_and_never_taken_for_absence() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path().to_owned());
        fs::create_dir(layout.meta()).unwrap();
        let volume = VolumeId::new("v1").unwrap();

        for bad in [
            "",
            "{",
            r#"{"version":2,"role":"live","epoch":1,"size":1}"#,
            r#"{"version":1,"role":"king","epoch":1,"size":1}"#,
            r#"{"version":1,"role":"live","epoch":-1,"size":1}"#,
        ] {
            fs::write(layout.sidecar(&volume), bad).unwrap();
            let error = read(&layout, &volume).unwrap_err().to_string();
            assert!(error.contains("v1.json") && error.contains("hint:"), "{error}");
        }
    }
}
