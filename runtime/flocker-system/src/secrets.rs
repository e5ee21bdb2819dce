//! Secrets in files: read only where nobody else can read or change them.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use rustix::fs::{self, FileType, Mode, OFlags};

/// The longest one; keys and tokens are shorter, and servers refuse longer headers.
const BYTES_MAX: u64 = 4 << 10;

/// The one line of plain text in a file of root's, or of this user's, that nobody else may read.
///
/// # Errors
/// Those of reading it, and [`io::ErrorKind::PermissionDenied`] with words where it is no such file.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    // And the end of a line, which editors write.
    let mut content = read_owned(path, 0o077, BYTES_MAX + 1)?;
    if content.last() == Some(&b'\n') {
        content.pop();
    }
    if content.is_empty() || content.len() as u64 > BYTES_MAX {
        return Err(refused("it is empty or longer than 4 KiB"));
    }
    if !content.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        return Err(refused("it is not one line of plain text"));
    }
    Ok(content)
}

/// What a file of root's, or of this user's, holds, if nobody else has one of these rights to it. A longer one is cut.
///
/// # Errors
/// Those of reading it, and [`io::ErrorKind::PermissionDenied`] with words where it is no such file.
pub fn read_owned(path: &Path, rights: u32, bytes_max: u64) -> io::Result<Vec<u8>> {
    // A pipe must not hold us up.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = fs::open(path, flags, Mode::empty())?;
    let found = fs::fstat(&file)?;
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
        return Err(refused("it is no file"));
    }
    if found.st_mode & rights != 0 {
        let mode = 0o666 & !rights;
        return Err(refused(&format!(
            "others than its owner have a right to it\nhint: chmod {mode:o}"
        )));
    }
    if found.st_uid != 0 && found.st_uid != rustix::process::geteuid().as_raw() {
        return Err(refused("it belongs to another user\nhint: chown root"));
    }
    let mut content = Vec::new();
    File::from(file).take(bytes_max).read_to_end(&mut content)?;
    Ok(content)
}

fn refused(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, reason)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn write(path: &Path, content: &[u8], mode: u32) {
        std::fs::write(path, content).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_secret_is_a_line_that_only_its_owner_reads() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        write(&path, b"first\n", 0o600);
        assert_eq!(read(&path).unwrap(), b"first");
        write(&path, b"second", 0o400);
        assert_eq!(read(&path).unwrap(), b"second");

        for (content, mode, word) in [
            (&b"open"[..], 0o640, "others than its owner"),
            (b"open", 0o604, "others than its owner"),
            (b"", 0o600, "empty"),
            (b"a\r\nhost: b", 0o600, "not one line"),
            (&[b'a'; 5000], 0o600, "longer than"),
        ] {
            write(&path, content, mode);
            let said = read(&path).unwrap_err().to_string();
            assert!(said.contains(word), "{said}");
        }
        write(&path, b"fine", 0o600);
        let link = folder.path().join("link");
        symlink(&path, &link).unwrap();
        assert!(read(&link).is_err() && read(folder.path()).is_err());
    }
}
