//! Mounts datasets at folders of ours, and says what is mounted there. Knows nothing of roles.

use std::{fs, io, path::Path};

use flocker_system::mounts::source_at;
use rustix::mount::{MountFlags, UnmountFlags};

/// Makes `folder` show `dataset`. One that shows it already, since an earlier program was killed, is left so.
pub(crate) fn mount(dataset: &str, folder: &Path) -> io::Result<()> {
    match source_at(folder)? {
        Some(source) if source == dataset => return Ok(()),
        Some(source) => {
            return Err(io::Error::other(format!(
                "it already shows `{source}`\nhint: unmount it with `umount {}`",
                folder.display()
            )));
        }
        None => {}
    }
    fs::create_dir_all(folder)?;
    Ok(rustix::mount::mount(dataset, folder, "zfs", MountFlags::NOATIME, None)?)
}

/// Whether `folder` shows `dataset`.
pub(crate) fn is_mounted(dataset: &str, folder: &Path) -> io::Result<bool> {
    Ok(source_at(folder)?.is_some_and(|source| source == dataset))
}

/// Takes the mount away, if it is there, and the folder with it.
pub(crate) fn unmount(dataset: &str, folder: &Path) -> io::Result<()> {
    if is_mounted(dataset, folder)? {
        rustix::mount::unmount(folder, UnmountFlags::empty())?;
    }
    match fs::remove_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
