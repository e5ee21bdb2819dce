//! Makes a tree of records. A record that leads outside is refused by the kernel (`openat2`), whoever wrote it.

use std::{
    collections::BTreeSet,
    ffi::{CString, OsStr},
    fs::File,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::FileExt,
    },
    path::{Path, PathBuf},
};

use rustix::fs::{
    self, AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags,
};

use super::{
    DEPTH_MAX, Facts, Name, Record, as_path, attributes, handle, inside, kind, look, names,
    open_folder, pin, too_deep,
};

/// Changes one folder, record by record.
pub(crate) struct Builder {
    top: OwnedFd,
    file: Option<File>,
    /// The folder in which the last change was made: mostly the next one is there too.
    parent: Option<(PathBuf, OwnedFd)>,
}

impl Builder {
    pub(crate) fn new(top: OwnedFd) -> Self {
        Self { top, file: None, parent: None }
    }

    /// Takes one record.
    ///
    /// # Errors
    /// `InvalidData` when it does not fit what came before; others are the disk's.
    pub(crate) fn apply(&mut self, record: &Record) -> io::Result<()> {
        match record {
            Record::Remove(name) => {
                self.file = None;
                let (parent, leaf) = self.place(name)?;
                remove(parent, leaf)?;
                // It may have been the folder itself.
                self.parent = None;
            }
            Record::Folder(name) => {
                let (parent, leaf) = self.place(name)?;
                fs::mkdirat(parent, leaf, Mode::from_raw_mode(0o700))?;
            }
            Record::File { name, length } => {
                let (parent, leaf) = self.place(name)?;
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                // A pipe in the file's place must not make us wait for a reader.
                let flags = flags | OFlags::NONBLOCK;
                let file = File::from(fs::openat(parent, leaf, flags, Mode::from_raw_mode(0o600))?);
                if !file.metadata()?.is_file() {
                    return Err(invalid("data for what is no file"));
                }
                file.set_len(*length)?;
                self.file = Some(file);
            }
            Record::Data { offset, bytes } => {
                let file = self.file.as_ref().ok_or_else(|| invalid("data of no file"))?;
                file.write_all_at(bytes, *offset)?;
            }
            Record::Link { name, first } => self.link(name, first)?,
            Record::Symlink { name, target } => {
                let (parent, leaf) = self.place(name)?;
                fs::symlinkat(as_path(target), parent, leaf)?;
            }
            Record::Node { name, kind, device } => {
                let (parent, leaf) = self.place(name)?;
                let kind = FileType::from_raw_mode(*kind);
                fs::mknodat(parent, leaf, kind, Mode::from_raw_mode(0o600), *device)?;
            }
            Record::Facts { name, facts } => self.facts(name, facts)?,
        }
        Ok(())
    }

    /// All of it is on the disk.
    pub(crate) fn flush(self) -> io::Result<()> {
        Ok(fs::syncfs(&self.top)?)
    }

    fn link(&mut self, name: &Name, first: &Name) -> io::Result<()> {
        let (old_parent, old_leaf) = split(first)?;
        let old_parent = inside(&self.top, old_parent)?;
        let (parent, leaf) = self.place(name)?;
        Ok(fs::linkat(old_parent, old_leaf, parent, leaf, AtFlags::empty())?)
    }

    fn facts(&mut self, name: &Name, facts: &Facts) -> io::Result<()> {
        let held = if name.is_empty() {
            pin(&self.top, OsStr::new(""))?
        } else {
            let (parent, leaf) = self.place(name)?;
            pin(parent, leaf)?
        };
        let stat = fs::fstat(&held)?;
        let (user, group) = (Uid::from_raw(facts.user), Gid::from_raw(facts.group));
        fs::chownat(&held, "", Some(user), Some(group), AtFlags::EMPTY_PATH)?;
        let path = handle(&held);
        if kind(&stat) != FileType::Symlink {
            // After the owner: a change of owner takes privileges away from programs.
            fs::chmodat(fs::CWD, &path, Mode::from_raw_mode(facts.mode), AtFlags::empty())?;
        }
        if matches!(kind(&stat), FileType::RegularFile | FileType::Directory) {
            set_attributes(&held, &facts.attributes)?;
        }
        let modified = Timespec { tv_sec: facts.modified.0, tv_nsec: facts.modified.1 };
        let times = Timestamps { last_access: modified, last_modification: modified };
        if kind(&stat) == FileType::Symlink {
            let (parent, leaf) = self.place(name)?;
            fs::utimensat(parent, leaf, &times, AtFlags::SYMLINK_NOFOLLOW)?;
        } else {
            fs::utimensat(fs::CWD, &path, &times, AtFlags::empty())?;
        }
        Ok(())
    }

    /// The folder of a name, opened, and the last part of the name.
    fn place<'n>(&mut self, name: &'n Name) -> io::Result<(BorrowedFd<'_>, &'n OsStr)> {
        let (parent, leaf) = split(name)?;
        if self.parent.as_ref().is_none_or(|(path, _)| path != parent) {
            self.parent = Some((parent.to_owned(), inside(&self.top, parent)?));
        }
        match &self.parent {
            Some((_, folder)) => Ok((folder.as_fd(), leaf)),
            None => Err(invalid("a name without a folder")),
        }
    }
}

fn split(name: &Name) -> io::Result<(&Path, &OsStr)> {
    let path = as_path(name);
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(leaf)) => Ok((parent, leaf)),
        _ => Err(invalid("a name that is none")),
    }
}

fn set_attributes(held: &OwnedFd, wanted: &[(Vec<u8>, Vec<u8>)]) -> io::Result<()> {
    let path = handle(held);
    let key = |name: &[u8]| CString::new(name).map_err(|_| invalid("an attribute's name"));
    let old = attributes(held)?;
    let kept: BTreeSet<&[u8]> = wanted.iter().map(|(name, _)| name.as_slice()).collect();
    for (name, _) in old.iter().filter(|(name, _)| !kept.contains(name.as_slice())) {
        fs::removexattr(&path, &key(name)?)?;
    }
    for (name, value) in wanted.iter().filter(|wanted| !old.contains(wanted)) {
        fs::setxattr(&path, &key(name)?, value, XattrFlags::empty())?;
    }
    Ok(())
}

/// Removes a file or a whole folder. Answers whether there was one.
pub(crate) fn remove(parent: impl AsFd, name: &OsStr) -> io::Result<bool> {
    remove_at(parent.as_fd(), name, 0)
}

fn remove_at(parent: BorrowedFd<'_>, name: &OsStr, depth: usize) -> io::Result<bool> {
    if depth > DEPTH_MAX {
        return Err(too_deep());
    }
    let Some(stat) = look(parent, name)? else { return Ok(false) };
    if kind(&stat) != FileType::Directory {
        fs::unlinkat(parent, name, AtFlags::empty())?;
        return Ok(true);
    }
    let folder = open_folder(parent, name)?;
    for child in names(&folder)? {
        remove_at(folder.as_fd(), &child, depth + 1)?;
    }
    fs::unlinkat(parent, name, AtFlags::REMOVEDIR)?;
    Ok(true)
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a record that does not fit: {what}"))
}
