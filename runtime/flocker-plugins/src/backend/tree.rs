//! A tree of files as a list of records: how one becomes another. Copies, sends and receives are made of it.
//!
//! ```text
//! walk(tree, base) --records--> build(tree that holds base) => tree
//! ```
//!
//! Nobody else's links are followed: a container fills these trees, and a plugin can change them at any time.

mod build;
mod walk;

use std::{
    ffi::{CString, OsStr, OsString},
    io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use serde::{Deserialize, Serialize};

pub(crate) use build::{Builder, remove};
pub(crate) use walk::{Source, walk};

/// The most that one record carries, and the unit in which files are compared.
pub(crate) const BLOCK: usize = 128 << 10;
/// Each level holds an open folder or two; nobody's data is that deep.
const DEPTH_MAX: usize = 300;

/// A path below the top of the tree; empty for the top itself.
pub(crate) type Name = Vec<u8>;

/// One step from the base to the tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Record {
    /// What is there goes, with all that is below.
    Remove(Name),
    /// A new folder.
    Folder(Name),
    /// A file, new or not, has this length from now on; the data that follows belongs to it.
    File { name: Name, length: u64 },
    /// Bytes of the file that was named last.
    Data { offset: u64, bytes: Vec<u8> },
    /// A new name of a file that has one already.
    Link { name: Name, first: Name },
    /// A new symbolic link.
    Symlink { name: Name, target: Vec<u8> },
    /// A new pipe, socket or device, by its kind and number.
    Node { name: Name, kind: u32, device: u64 },
    /// Owner, mode, times and attributes.
    Facts { name: Name, facts: Facts },
}

/// What is known about a file beside its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facts {
    user: u32,
    group: u32,
    mode: u32,
    modified: (i64, i64),
    attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Facts {
    /// Reads them off a file that nothing is read from: the kernel's name for an open file works for all kinds.
    fn read(parent: impl AsFd, name: &OsStr, stat: &Stat) -> io::Result<Self> {
        let attributes = match kind(stat) {
            FileType::RegularFile | FileType::Directory => attributes(&pin(parent, name)?)?,
            // Linux has none of the user's on links, and those of devices are nobody's.
            FileType::Symlink
            | FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown => Vec::new(),
        };
        Ok(Self {
            user: stat.st_uid,
            group: stat.st_gid,
            mode: stat.st_mode & 0o7777,
            modified: (modified(stat).0, modified(stat).1),
            attributes,
        })
    }
}

#[expect(clippy::useless_conversion, reason = "the types differ between machines")]
fn modified(stat: &Stat) -> (i64, i64) {
    (i64::from(stat.st_mtime), i64::try_from(stat.st_mtime_nsec).unwrap_or_default())
}

/// Holds a file without opening it, and never what a link leads to.
fn pin(parent: impl AsFd, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(fs::openat(parent, name_or_self(name), flags, Mode::empty())?)
}

/// A path to a held file that leads nowhere else.
pub(crate) fn handle(held: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", held.as_raw_fd()))
}

fn name_or_self(name: &OsStr) -> &OsStr {
    if name.is_empty() { OsStr::new(".") } else { name }
}

/// Attributes that a system writes by itself and does not let others write.
const NOT_COPIED: [&[u8]; 2] = [b"security.selinux", b"security.evm"];

fn attributes(held: &OwnedFd) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let path = handle(held);
    let mut names = vec![0; 64 << 10];
    let length = match fs::listxattr(&path, names.as_mut_slice()) {
        Ok(length) => length,
        // Some filesystems know none.
        Err(rustix::io::Errno::NOTSUP) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut found = Vec::new();
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        if NOT_COPIED.contains(&name) {
            continue;
        }
        let mut value = vec![0; 64 << 10];
        let key = CString::new(name).map_err(io::Error::other)?;
        let length = fs::getxattr(&path, &key, value.as_mut_slice())?;
        value.truncate(length);
        found.push((name.to_vec(), value));
    }
    found.sort();
    Ok(found)
}

fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

pub(crate) fn look(parent: impl AsFd, name: &OsStr) -> io::Result<Option<Stat>> {
    match fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

pub(crate) fn open_folder(parent: impl AsFd, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(fs::openat(parent, name_or_self(name), flags, Mode::empty())?)
}

/// A folder below another, or that one itself; links and `..` on the way are refused.
pub(crate) fn inside(top: &OwnedFd, path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    Ok(fs::openat2(top, path, flags, Mode::empty(), within)?)
}

/// The names in a folder, sorted, so that the same tree always makes the same records.
fn names(folder: impl AsFd) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in fs::Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn below(name: &[u8], child: &OsStr) -> Name {
    let mut path = name.to_vec();
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(child.as_bytes());
    path
}

fn as_path(name: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(name))
}

fn too_deep() -> io::Error {
    io::Error::other(format!("folders are nested deeper than {DEPTH_MAX} levels"))
}

#[cfg(test)]
mod tests;
