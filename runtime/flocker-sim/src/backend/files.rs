//! What a container sees of an attached volume: files by name, and errors as a kernel gives them.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use flocker_model::{Role, Timestamp, VolumeId};
use flocker_ports::Attachment;

use super::pool::{Pool, Volume};

/// The content of a volume. Cheap to copy: the bytes are shared.
pub(super) type Files = BTreeMap<String, Bytes>;

/// The bytes that files take.
pub(super) fn size(files: &Files) -> u64 {
    files.values().map(|bytes| bytes.len() as u64).sum()
}

impl Pool {
    /// Where volumes of this pool are.
    pub(super) fn root(&self) -> PathBuf {
        Path::new("/sim").join(&self.node)
    }

    /// The volume behind an attachment that is still the one that was attached.
    fn attached(&self, at: &Attachment) -> io::Result<VolumeId> {
        let here = at
            .path
            .strip_prefix(self.root())
            .ok()
            .and_then(Path::to_str)
            .ok_or(io::ErrorKind::NotFound)?;
        let id = VolumeId::new(here).map_err(|_| io::ErrorKind::NotFound)?;
        match self.volumes.get(&id) {
            Some(Volume { role: Role::Live | Role::Sealed, inode, .. }) if *inode == at.inode => {
                Ok(id)
            }
            Some(_) | None => Err(io::ErrorKind::StaleNetworkFileHandle.into()),
        }
    }

    pub(super) fn read_file(&self, at: &Attachment, name: &str) -> io::Result<Bytes> {
        let id = self.attached(at)?;
        let files = self.volumes.get(&id).map(|volume| &volume.files);
        files
            .and_then(|files| files.get(name))
            .cloned()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn write_file(
        &mut self,
        at: &Attachment,
        name: &str,
        bytes: Bytes,
        now: Timestamp,
    ) -> io::Result<()> {
        let id = self.attached(at)?;
        let free = self.capacity().free.0;
        let Some(volume) = self.volumes.get_mut(&id) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        match volume.role {
            Role::Live => {}
            Role::Sealed | Role::Replica => return Err(io::ErrorKind::ReadOnlyFilesystem.into()),
        }
        let (old, new) = (volume.files.get(name).map_or(0, Bytes::len) as u64, bytes.len() as u64);
        if size(&volume.files) - old + new > volume.size.0 {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        if new > free {
            return Err(io::ErrorKind::StorageFull.into());
        }
        volume.files.insert(name.to_owned(), bytes);
        volume.written = Some(now);
        Ok(())
    }
}
