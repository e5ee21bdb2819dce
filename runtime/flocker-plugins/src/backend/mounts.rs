//! Shows directories of attached volumes where containers find them, and makes them read-only.
//!
//! A volume is shown by a bind mount of its own: read-only is a property of a mount, so a seal needs one.

use std::{
    fs::DirBuilder,
    io,
    os::{fd::OwnedFd, unix::fs::DirBuilderExt},
    path::{Path, PathBuf},
};

use flocker_model::VolumeId;
use flocker_ports::Attachment;
use rustix::{
    fs::{self, AtFlags, CWD, StatxAttributes, StatxFlags},
    mount::{self, MountFlags, UnmountFlags},
};

use super::{devices::Devices, tree::handle};

/// Mounts that may lie on top of each other at one place: a program that was killed leaves one.
const STACKED_MAX: usize = 8;

/// The folder with one mount point for each attached volume.
#[derive(Debug)]
pub(crate) struct Mounts {
    folder: PathBuf,
    /// What lies below the mounts of volumes on block devices.
    pub(crate) devices: Devices,
}

/// What became of a volume that was to be made read-only.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frozen {
    /// Nobody can write to it.
    Done,
    /// Somebody has a file open for writing; it stays writable.
    Held,
}

impl Mounts {
    pub(crate) fn new(folder: PathBuf, devices: Devices) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o711).create(&folder)?;
        Ok(Self { folder, devices })
    }

    fn at(&self, volume: &VolumeId) -> PathBuf {
        self.folder.join(volume.as_str())
    }

    /// Makes a writable mount of `source`. One that is there already is kept, one of something else is replaced.
    pub(crate) fn show(&self, volume: &VolumeId, source: &OwnedFd) -> io::Result<Attachment> {
        let path = self.at(volume);
        let wanted = fs::fstat(source)?;
        let is_wanted =
            |found: &fs::Stat| (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino);
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let kept = is_mounted(&path)? && is_wanted(&fs::stat(&path)?);
        if kept {
            mount::mount_remount(&path, MountFlags::BIND, c"")?;
        } else {
            self.unmount(&path)?;
            // By its open handle, so that nothing can be put in its place meanwhile.
            mount::mount_bind(handle(source), &path)?;
        }
        let found = fs::stat(&path)?;
        if !is_wanted(&found) {
            self.unmount(&path)?;
            return Err(io::Error::other("the mount shows another folder"));
        }
        Ok(Attachment { path, device: found.st_dev, inode: found.st_ino })
    }

    /// Makes the volume's mount read-only, where it has one. Mounts that containers made of it are not reached: their
    /// processes were ended before, as a seal comes after the stop.
    pub(crate) fn freeze(&self, volume: &VolumeId) -> io::Result<Frozen> {
        let path = self.at(volume);
        if is_mounted(&path)? {
            match mount::mount_remount(&path, MountFlags::BIND | MountFlags::RDONLY, c"") {
                Ok(()) => {}
                Err(rustix::io::Errno::BUSY) => return Ok(Frozen::Held),
                Err(error) => return Err(error.into()),
            }
        }
        self.devices.seal(volume)?;
        Ok(Frozen::Done)
    }

    /// Gives the right to write back, where the volume is mounted at all.
    pub(crate) fn thaw(&self, volume: &VolumeId) -> io::Result<()> {
        self.devices.unseal(volume)?;
        let path = self.at(volume);
        if is_mounted(&path)? {
            mount::mount_remount(&path, MountFlags::BIND, c"")?;
        }
        Ok(())
    }

    /// Takes the mount away. Containers that still see the files keep them.
    pub(crate) fn hide(&self, volume: &VolumeId) -> io::Result<()> {
        let path = self.at(volume);
        self.unmount(&path)?;
        match std::fs::remove_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        self.devices.release(volume)
    }

    /// Takes all mounts away.
    pub(crate) fn hide_all(&self) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.folder)? {
            let path = entry?.path();
            self.unmount(&path)?;
            std::fs::remove_dir(&path)?;
        }
        self.devices.release_all()
    }

    fn unmount(&self, path: &Path) -> io::Result<()> {
        for _ in 0..STACKED_MAX {
            if !is_mounted(path)? {
                return Ok(());
            }
            // Detached: a reader must not keep the node from letting go; writers were ended by the seal.
            mount::unmount(path, UnmountFlags::DETACH)?;
        }
        Err(io::Error::other(format!("`{}` has too many mounts on it", path.display())))
    }
}

pub(crate) fn is_mounted(path: &Path) -> io::Result<bool> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    match fs::statx(CWD, path, flags, StatxFlags::BASIC_STATS) {
        Ok(found) => Ok(found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)),
        Err(rustix::io::Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
