//! Mounts datasets at folders of ours, and says what is mounted there. Knows nothing of roles.

use std::{ffi::OsString, fs, io, os::unix::ffi::OsStringExt, path::Path};

use rustix::mount::{MountFlags, UnmountFlags};

/// Makes `folder` show `dataset`. One that shows it already, since an earlier program was killed, is left so.
pub(crate) fn mount(dataset: &str, folder: &Path) -> io::Result<()> {
    match source_at(&mounts()?, folder) {
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
    Ok(source_at(&mounts()?, folder).is_some_and(|source| source == dataset))
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

fn mounts() -> io::Result<String> {
    fs::read_to_string("/proc/self/mountinfo")
}

/// What is mounted at `folder`; of several, the one on top.
fn source_at(mountinfo: &str, folder: &Path) -> Option<String> {
    mountinfo.lines().rev().find_map(|line| {
        let (fields, rest) = line.split_once(" - ")?;
        let point = fields.split(' ').nth(4)?;
        (unescape(point) == folder.as_os_str())
            .then(|| rest.split(' ').nth(1).unwrap_or_default().to_owned())
    })
}

/// The kernel writes blanks and the like in paths as three octal digits.
fn unescape(text: &str) -> OsString {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let code = (first == b'\\').then(|| tail.get(..3)).flatten();
        let value =
            code.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        match value {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_is_mounted_on_top() {
        let mounts = "21 1 254:0 / / rw - ext4 /dev/vda rw\n\
                      43 27 0:39 / /var/my\\040volumes/v rw,noatime - zfs tank/flocker/v rw,xattr\n\
                      44 27 0:40 / /var/my\\040volumes/v rw shared:7 - tmpfs none rw\n";

        assert_eq!(source_at(mounts, Path::new("/var/my volumes/v")).as_deref(), Some("none"));
        assert_eq!(source_at(mounts, Path::new("/")).as_deref(), Some("/dev/vda"));
        assert_eq!(source_at(mounts, Path::new("/var")), None);
    }
}
