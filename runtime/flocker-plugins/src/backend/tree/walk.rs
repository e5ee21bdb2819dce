//! Compares a tree with its base, by content: times say too little (two writes in one tick have the same one).

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs::File,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::FileExt,
    },
};

use rustix::fs::{self, FileType, Mode, OFlags, Stat};

use super::{
    BLOCK, DEPTH_MAX, Facts, Name, Record, below, kind, look, names, open_folder, too_deep,
};

/// Whether a tree may change while it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// It is a snapshot: a file that vanishes is an error.
    Still,
    /// It is in use: files come and go.
    InUse,
}

type Sink<'a> = &'a mut dyn FnMut(Record) -> io::Result<()>;

/// Says how `tree` is made of `base`, or of an empty folder. Answers the bytes in its files.
pub(crate) fn walk(
    tree: OwnedFd,
    base: Option<OwnedFd>,
    source: Source,
    sink: Sink<'_>,
) -> io::Result<u64> {
    let mut walk = Walk { sink, source, first_names: HashMap::new(), bytes: 0 };
    walk.folder(&[], &tree, base.as_ref(), 0)?;
    let stat = fs::fstat(&tree)?;
    let facts = Facts::read(&tree, OsStr::new(""), &stat)?;
    (walk.sink)(Record::Facts { name: Name::new(), facts })?;
    Ok(walk.bytes)
}

struct Walk<'a> {
    sink: Sink<'a>,
    source: Source,
    /// Files with several names, by device and inode.
    first_names: HashMap<(u64, u64), Name>,
    bytes: u64,
}

/// A name in a folder, and the same name in the base's folder.
struct Place<'a> {
    name: Name,
    leaf: &'a OsStr,
    stat: Stat,
    folder: &'a OwnedFd,
    base: Option<(&'a OwnedFd, Stat)>,
}

impl Walk<'_> {
    fn folder(
        &mut self,
        name: &[u8],
        folder: &OwnedFd,
        base: Option<&OwnedFd>,
        depth: usize,
    ) -> io::Result<()> {
        if depth > DEPTH_MAX {
            return Err(too_deep());
        }
        let here = names(folder)?;
        if let Some(base) = base {
            for gone in names(base)?.iter().filter(|old| here.binary_search(old).is_err()) {
                (self.sink)(Record::Remove(below(name, gone)))?;
            }
        }
        for leaf in &here {
            let Some(stat) = self.may_vanish(look(folder, leaf).transpose())? else { continue };
            let old = match base {
                Some(base) => look(base, leaf)?.map(|stat| (base, stat)),
                None => None,
            };
            let place = Place { name: below(name, leaf), leaf, stat, folder, base: old };
            let visited = self.visit(place, depth);
            self.may_vanish(Some(visited))?;
        }
        Ok(())
    }

    /// What vanished between two looks was not there, if the tree is in use.
    fn may_vanish<T>(&self, seen: Option<io::Result<T>>) -> io::Result<Option<T>> {
        let vanished = || io::Error::new(io::ErrorKind::NotFound, "a file of a snapshot vanished");
        match (seen, self.source) {
            (Some(Ok(seen)), _) => Ok(Some(seen)),
            (Some(Err(error)), Source::InUse) if error.kind() == io::ErrorKind::NotFound => {
                Ok(None)
            }
            (Some(Err(error)), _) => Err(error),
            (None, Source::InUse) => Ok(None),
            (None, Source::Still) => Err(vanished()),
        }
    }

    fn visit(&mut self, mut place: Place<'_>, depth: usize) -> io::Result<()> {
        let is = kind(&place.stat);
        let several_names = |stat: &Stat| is == FileType::RegularFile && stat.st_nlink > 1;
        // A file with several names is made anew: a write to one of them in the base would change the others.
        let anew = |(_, old): &(_, Stat)| {
            kind(old) != is || several_names(old) || several_names(&place.stat)
        };
        if place.base.as_ref().is_some_and(anew) {
            (self.sink)(Record::Remove(place.name.clone()))?;
            place.base = None;
        }
        let changed = match is {
            FileType::Directory => self.enter(&place, depth)?,
            FileType::RegularFile => {
                if several_names(&place.stat) && self.link(&place)? {
                    return Ok(());
                }
                let changed = self.file(&place)?;
                if several_names(&place.stat) {
                    // Only now: a name that vanished before its content was read is nothing to link to.
                    self.first_names.insert(identity(&place.stat), place.name.clone());
                }
                changed
            }
            FileType::Symlink => self.symlink(&mut place)?,
            FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice => self.node(&mut place)?,
            FileType::Unknown => return Err(io::Error::other("a file of an unknown kind")),
        };
        self.facts(&place, changed)
    }

    fn enter(&mut self, place: &Place<'_>, depth: usize) -> io::Result<bool> {
        let folder = open_folder(place.folder, place.leaf)?;
        let base = match &place.base {
            Some((base, _)) => Some(open_folder(base, place.leaf)?),
            None => {
                (self.sink)(Record::Folder(place.name.clone()))?;
                None
            }
        };
        self.folder(&place.name, &folder, base.as_ref(), depth + 1)?;
        // What is done inside changes its time.
        Ok(true)
    }

    /// Gives the file one more name, if it was met by another.
    fn link(&mut self, place: &Place<'_>) -> io::Result<bool> {
        let Some(first) = self.first_names.get(&identity(&place.stat)) else { return Ok(false) };
        let (name, first) = (place.name.clone(), first.clone());
        (self.sink)(Record::Link { name, first })?;
        Ok(true)
    }

    /// Whether the content is another than the base's.
    fn file(&mut self, place: &Place<'_>) -> io::Result<bool> {
        let length = u64::try_from(place.stat.st_size).unwrap_or_default();
        self.bytes += length;
        let file = open(place.folder, place.leaf)?;
        let base = match &place.base {
            Some((base, _)) => Some(open(base, place.leaf)?),
            None => None,
        };
        let old_length =
            place.base.as_ref().map(|(_, old)| u64::try_from(old.st_size).unwrap_or_default());
        let mut announced = false;
        let announce = |walk: &mut Self, announced: &mut bool| {
            if !std::mem::replace(announced, true) {
                let name = place.name.clone();
                return (walk.sink)(Record::File { name, length });
            }
            Ok(())
        };
        if old_length != Some(length) {
            announce(self, &mut announced)?;
        }
        let (mut block, mut old) = (vec![0; BLOCK], vec![0; BLOCK]);
        let mut offset = 0;
        while offset < length {
            let wanted = usize::try_from(length - offset).unwrap_or(BLOCK).min(BLOCK);
            let n = read_block(&file, &mut block[..wanted], offset)?;
            if n == 0 {
                break;
            }
            let n_old = match &base {
                Some(base) => read_block(base, &mut old[..n], offset)?,
                None => 0,
            };
            // Beyond the end of what is there already, a file that was made longer holds zeros.
            old[n_old..n].fill(0);
            if block[..n] != old[..n] {
                announce(self, &mut announced)?;
                (self.sink)(Record::Data { offset, bytes: block[..n].to_vec() })?;
            }
            offset += n as u64;
        }
        Ok(announced)
    }

    fn symlink(&mut self, place: &mut Place<'_>) -> io::Result<bool> {
        let target = fs::readlinkat(place.folder, place.leaf, Vec::new())?.into_bytes();
        if let Some((base, _)) = place.base {
            if fs::readlinkat(base, place.leaf, Vec::new())?.as_bytes() == target {
                return Ok(false);
            }
            (self.sink)(Record::Remove(place.name.clone()))?;
            place.base = None;
        }
        (self.sink)(Record::Symlink { name: place.name.clone(), target })?;
        Ok(true)
    }

    fn node(&mut self, place: &mut Place<'_>) -> io::Result<bool> {
        let device = place.stat.st_rdev;
        if let Some((_, old)) = &place.base {
            if old.st_rdev == device {
                return Ok(false);
            }
            (self.sink)(Record::Remove(place.name.clone()))?;
            place.base = None;
        }
        let kind = kind(&place.stat).as_raw_mode();
        (self.sink)(Record::Node { name: place.name.clone(), kind, device })?;
        Ok(true)
    }

    fn facts(&mut self, place: &Place<'_>, changed: bool) -> io::Result<()> {
        let facts = Facts::read(place.folder, place.leaf, &place.stat)?;
        if let (false, Some((base, old))) = (changed, &place.base)
            && facts == Facts::read(base, place.leaf, old)?
        {
            return Ok(());
        }
        (self.sink)(Record::Facts { name: place.name.clone(), facts })
    }
}

fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

fn open(folder: impl AsFd, name: &OsStr) -> io::Result<File> {
    // A pipe that took the file's place must not make us wait for a writer.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(File::from(fs::openat(folder, name, flags, Mode::empty())?))
}

/// As much of the buffer as the file fills.
fn read_block(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
