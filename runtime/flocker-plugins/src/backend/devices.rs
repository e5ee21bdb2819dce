//! Block devices that a plugin names: opened after a check, formatted when blank, mounted. After that they are folders,
//! and everything else is as for folders.
//!
//! ```text
//! a live volume        STATE/devices/VOLUME, and its folder `data` is what containers see
//! a snapshot, a base   read-only, mounted nowhere: an open folder that is unmounted when it is closed
//! a receive            the same, writable
//! ```

use std::{
    ffi::OsStr,
    fs::{DirBuilder, File},
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::{DirBuilderExt, FileExt},
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use flocker_model::VolumeId;
use rustix::{
    fs::{self, CWD, FileType, Gid, Mode, OFlags, RenameFlags, ResolveFlags, Uid},
    mount::{
        self, FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, UnmountFlags,
    },
};

use super::{
    folders::Place,
    mounts::is_mounted,
    tree::{self, handle},
};
use crate::{chatter::tame, grants::DeviceGrant};

/// The folder of a filesystem that holds a volume's files; beside it is what the filesystem needs for itself.
const DATA: &str = "data";
/// How much of a device's beginning must be zeros before it is formatted. All that anybody writes there begins there.
const BLANK_BYTES: usize = 1 << 20;
/// Where ext4 has its magic number.
const MAGIC: (u64, [u8; 2]) = (1080, [0x53, 0xef]);

/// The devices that were granted, and the mounts of live volumes.
#[derive(Debug)]
pub(crate) struct Devices {
    granted: Vec<DeviceGrant>,
    folder: PathBuf,
}

/// A filesystem whose writers wait. They go on when this is dropped.
#[derive(Debug)]
pub(crate) struct Paused(PathBuf);

impl Drop for Paused {
    fn drop(&mut self) {
        if let Err(error) = thaw(&self.0) {
            tracing::error!(path = %self.0.display(), %error, "writers are still held up");
        }
    }
}

impl Devices {
    /// What a host that was killed left held up goes on.
    pub(crate) fn new(granted: Vec<DeviceGrant>, folder: PathBuf) -> io::Result<Self> {
        let devices = Self { granted, folder };
        if devices.are_granted() {
            DirBuilder::new().recursive(true).mode(0o700).create(&devices.folder)?;
            for path in devices.mounted()? {
                // An error here means that it was not held up.
                let _ = thaw(&path);
            }
        }
        Ok(devices)
    }

    pub(crate) fn are_granted(&self) -> bool {
        !self.granted.is_empty()
    }

    fn mounted(&self) -> io::Result<Vec<PathBuf>> {
        let mut mounted = Vec::new();
        if self.are_granted() {
            for entry in std::fs::read_dir(&self.folder)? {
                let path = entry?.path();
                if is_mounted(&path)? {
                    mounted.push(path);
                }
            }
        }
        Ok(mounted)
    }

    fn at(&self, volume: &VolumeId) -> PathBuf {
        self.folder.join(volume.as_str())
    }

    /// Whether a path is a device that may be used.
    pub(crate) fn check(&self, path: &str) -> io::Result<()> {
        self.open(path, OFlags::PATH).map(drop)
    }

    /// Opens a device. What it is, is checked on what was opened, and no link was followed on the way.
    fn open(&self, path: &str, how: OFlags) -> io::Result<OwnedFd> {
        if !self.granted.iter().any(|granted| granted.permits(path)) {
            let reason = format!("device `{}` was not granted", tame(path, 200));
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
        }
        open(path, how)
    }

    /// The files of a snapshot, as long as they stay open.
    pub(crate) fn look(&self, path: &str) -> io::Result<OwnedFd> {
        let device = self.open(path, OFlags::RDONLY)?;
        tree::open_folder(filesystem(path, &device, Use::Read)?, OsStr::new(DATA))
    }

    /// Where the files of a receive go. The device holds nothing else.
    pub(crate) fn place(&self, volume: &VolumeId, path: &str) -> io::Result<Place> {
        let device = self.open(path, OFlags::RDWR)?;
        self.format(volume, &device)?;
        let parent = tree::open_folder(filesystem(path, &device, Use::Write)?, OsStr::new(""))?;
        Ok(Place { parent, leaf: DATA.into() })
    }

    /// Mounts a live volume, where it is not. A blank device gets a filesystem; the files of a new one belong to `owner`.
    pub(crate) fn live(
        &self,
        volume: &VolumeId,
        path: &str,
        owner: Option<(u32, u32)>,
    ) -> io::Result<OwnedFd> {
        let device = self.open(path, OFlags::RDWR)?;
        let at = self.at(volume);
        match DirBuilder::new().mode(0o700).create(&at) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Ok(()) | Err(_) => {}
        }
        if is_mounted(&at)? && fs::stat(&at)?.st_dev == fs::fstat(&device)?.st_rdev {
            mount::mount_remount(&at, MountFlags::NODEV, c"")?;
        } else {
            self.unmount(&at)?;
            self.format(volume, &device)?;
            let made = filesystem(path, &device, Use::Write)?;
            mount::move_mount(&made, c"", CWD, &at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
            // Of a resize that was cut short. Its files are worth more than its room.
            if let Err(error) = grow(&device) {
                tracing::warn!(%volume, %error, "a filesystem does not have all of its device");
            }
        }
        let root = tree::open_folder(CWD, at.as_os_str())?;
        if tree::look(&root, OsStr::new(DATA))?.is_none() {
            make_data(&root, owner)?;
        }
        tree::open_folder(&root, OsStr::new(DATA))
    }

    /// Lets the filesystem have all of its device.
    pub(crate) fn grow(&self, volume: &VolumeId, path: &str) -> io::Result<()> {
        let device = self.open(path, OFlags::RDWR)?;
        if is_mounted(&self.at(volume))? { grow(&device) } else { Ok(()) }
    }

    /// Nothing is written from now on, and all that was is on the device.
    pub(crate) fn seal(&self, volume: &VolumeId) -> io::Result<()> {
        self.remount(volume, MountFlags::NODEV | MountFlags::RDONLY)
    }

    pub(crate) fn unseal(&self, volume: &VolumeId) -> io::Result<()> {
        self.remount(volume, MountFlags::NODEV)
    }

    fn remount(&self, volume: &VolumeId, flags: MountFlags) -> io::Result<()> {
        let at = self.at(volume);
        if is_mounted(&at)? {
            mount::mount_remount(&at, flags, c"")?;
        }
        Ok(())
    }

    /// Holds up the writers of a volume, so that a snapshot of its device is a whole filesystem.
    pub(crate) fn pause(&self, volume: &VolumeId) -> io::Result<Option<Paused>> {
        let at = self.at(volume);
        if !is_mounted(&at)? || fs::statvfs(&at)?.f_flag.contains(fs::StatVfsMountFlags::RDONLY) {
            return Ok(None);
        }
        run(Command::new("fsfreeze").arg("--freeze").arg(&at), "fsfreeze")?;
        Ok(Some(Paused(at)))
    }

    /// Takes the mount away; the device is nobody's afterwards.
    pub(crate) fn release(&self, volume: &VolumeId) -> io::Result<()> {
        let at = self.at(volume);
        self.unmount(&at)?;
        match std::fs::remove_dir(&at) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    pub(crate) fn release_all(&self) -> io::Result<()> {
        self.mounted()?.iter().try_for_each(|path| {
            self.unmount(path)?;
            std::fs::remove_dir(path)
        })
    }

    /// Not detached: whoever asks for it to be gone hands the device to somebody else.
    fn unmount(&self, at: &Path) -> io::Result<()> {
        if is_mounted(at)? {
            mount::unmount(at, UnmountFlags::empty())?;
        }
        Ok(())
    }

    /// Makes a filesystem on a blank device. What holds anything else stays as it is, and is an error when it is mounted.
    fn format(&self, volume: &VolumeId, device: &OwnedFd) -> io::Result<()> {
        let file = File::from(device.try_clone()?);
        // Says that it is us who write the beginning, should we be killed before the magic number is there.
        let begun = self.folder.join(format!("{volume}.new"));
        let is_ours = begun.exists() && !is_ext4(&file)?;
        if is_ours || is_blank(&file)? {
            File::create(&begun)?.sync_all()?;
            let mut mkfs = Command::new("mkfs.ext4");
            mkfs.args(["-q", "-m", "0", "/proc/self/fd/0"]).stdin(Stdio::from(device.try_clone()?));
            run(&mut mkfs, "mkfs.ext4")?;
            file.sync_all()?;
        }
        match std::fs::remove_file(&begun) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

fn open(path: &str, how: OFlags) -> io::Result<OwnedFd> {
    let held = fs::openat2(
        CWD,
        Path::new(path),
        OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
    )?;
    // Asked before it is opened in earnest: opening a pipe or a tape does something.
    if FileType::from_raw_mode(fs::fstat(&held)?.st_mode) != FileType::BlockDevice {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no block device"));
    }
    if how == OFlags::PATH {
        return Ok(held);
    }
    Ok(fs::open(handle(&held), how | OFlags::CLOEXEC, Mode::empty())?)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Read,
    Write,
}

/// A mount that has no place yet, and goes with its last open file. By its path, which other programs look for.
fn filesystem(path: &str, device: &OwnedFd, r#use: Use) -> io::Result<OwnedFd> {
    let failed = |error: rustix::io::Errno| {
        io::Error::new(
            io::Error::from(error).kind(),
            format!(
                "its ext4 filesystem cannot be mounted: {error}\nhint: a new device must read as zeros; one with a filesystem must be whole"
            ),
        )
    };
    let context = mount::fsopen(c"ext4", FsOpenFlags::FSOPEN_CLOEXEC)?;
    mount::fsconfig_set_string(context.as_fd(), c"source", path)?;
    let mut attributes = MountAttrFlags::MOUNT_ATTR_NODEV;
    if r#use == Use::Read {
        mount::fsconfig_set_flag(context.as_fd(), c"ro")?;
        attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY;
    }
    mount::fsconfig_create(context.as_fd()).map_err(failed)?;
    let made = mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    if fs::fstat(&made)?.st_dev != fs::fstat(device)?.st_rdev {
        return Err(io::Error::other("another device took its place meanwhile"));
    }
    Ok(made)
}

fn is_blank(device: &File) -> io::Result<bool> {
    let mut beginning = vec![0; BLANK_BYTES];
    device.read_exact_at(&mut beginning, 0)?;
    Ok(beginning.iter().all(|byte| *byte == 0))
}

fn is_ext4(device: &File) -> io::Result<bool> {
    let mut found = [0; 2];
    device.read_exact_at(&mut found, MAGIC.0)?;
    Ok(found == MAGIC.1)
}

/// With its owner from the first moment.
fn make_data(root: &OwnedFd, owner: Option<(u32, u32)>) -> io::Result<()> {
    let staging = OsStr::new("data.new");
    tree::remove(root, staging)?;
    fs::mkdirat(root, staging, Mode::from_raw_mode(0o755))?;
    if let Some((user, group)) = owner {
        let made = tree::open_folder(root, staging)?;
        fs::fchown(&made, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))?;
    }
    fs::renameat_with(root, staging, root, DATA, RenameFlags::NOREPLACE)?;
    Ok(fs::syncfs(root)?)
}

fn grow(device: &OwnedFd) -> io::Result<()> {
    let mut resize = Command::new("resize2fs");
    run(resize.arg("/proc/self/fd/0").stdin(Stdio::from(device.try_clone()?)), "resize2fs")
        .map_err(|error| {
            io::Error::new(error.kind(), format!(
                "{error}\nhint: the device has its new size; to let a mounted filesystem have it, this host needs CAP_SYS_RESOURCE"
            ))
        })
}

fn thaw(path: &Path) -> io::Result<()> {
    run(Command::new("fsfreeze").arg("--unfreeze").arg(path), "fsfreeze")
}

fn run(command: &mut Command, name: &str) -> io::Result<()> {
    let output = command.output().map_err(|error| {
        io::Error::new(error.kind(), format!(
            "`{name}` could not be run: {error}\nhint: block devices need e2fsprogs and util-linux"
        ))
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = tame(String::from_utf8_lossy(&output.stderr).trim(), 400);
    Err(io::Error::other(format!("`{name}` failed: {said}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_block_device_or_is_a_link_is_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        for (path, word) in [
            (link.to_str().unwrap(), "symbolic links"),
            (file.to_str().unwrap(), "no block device"),
            ("/dev/null", "no block device"),
            ("/dev/nothing", "No such file"),
        ] {
            let said = open(path, OFlags::RDONLY).unwrap_err().to_string();
            assert!(said.contains(word), "{path}: {said}");
        }
    }

    #[test]
    fn a_device_that_was_not_granted_is_not_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let granted = vec![DeviceGrant::parse("/dev/granted*").unwrap()];
        let devices = Devices::new(granted, folder.path().join("devices")).unwrap();
        for path in ["/dev/loop0", "/dev/granted/../loop0", "/etc/passwd", ""] {
            let said = devices.check(path).unwrap_err().to_string();
            assert!(said.contains("was not granted"), "{path}: {said}");
        }
    }
}
