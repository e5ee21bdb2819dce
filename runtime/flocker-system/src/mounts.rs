//! What is mounted where, as the kernel says it.

use std::{ffi::OsString, fs, io, os::unix::ffi::OsStringExt, path::Path};

/// What is mounted at `folder`; of several, the one on top.
///
/// # Errors
/// The kernel's list of mounts could not be read.
pub fn source_at(folder: &Path) -> io::Result<Option<String>> {
    Ok(find(&fs::read_to_string("/proc/self/mountinfo")?, folder))
}

fn find(mountinfo: &str, folder: &Path) -> Option<String> {
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

        assert_eq!(find(mounts, Path::new("/var/my volumes/v")).as_deref(), Some("none"));
        assert_eq!(find(mounts, Path::new("/")).as_deref(), Some("/dev/vda"));
        assert_eq!(find(mounts, Path::new("/var")), None);
    }
}
