//! The skeleton of a stream of `btrfs send`: all of it but what files hold, which is where `btrfs receive` has put it.
//! Kept, it makes the stream again that a receive had come to, and takes nearly no space and time beside it.
//!
//! ```text
//! stream:  "btrfs-stream\0" | version: u32 | commands            numbers are little-endian
//! command: length: u32 | what: u16 | CRC-32C: u32 | (attribute: u16 | length: u16 | bytes)*
//! ```
//!
//! In the skeleton a `write` ends before the bytes of its last attribute. They are read back from where it says they went,
//! or where a later `rename` took them. The checksum that every command carries tells whether they are those: whatever
//! else may have become of them, they are given out as they were or not at all.
//!
//! The form is that of version 1, in <https://btrfs.readthedocs.io/en/latest/dev/dev-send-stream.html>.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    os::{fd::AsFd, unix::fs::FileExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};

const MAGIC: &[u8] = b"btrfs-stream\0";
const VERSION: u32 = 1;
/// Magic and version.
const PREFACE: usize = MAGIC.len() + 4;
/// Length, kind and checksum of a command; the checksum is over all of it, with zeros in its own place.
const HEAD: usize = 10;
const SUM: std::ops::Range<usize> = 6..10;
/// The head of an attribute.
const ATTRIBUTE: usize = 4;

const RENAME: u16 = 9;
const WRITE: u16 = 15;
const PATH: u16 = 15;
const PATH_TO: u16 = 16;
const FILE_OFFSET: u16 = 18;
const DATA: u16 = 19;

/// The kernel makes commands of 64 KiB at most; what claims to be far longer is none.
const COMMAND_MAX: usize = 1 << 20;

/// So much of a stream is made again at once.
const BATCH: usize = 1 << 20;

/// This is no stream of the known form.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not a stream of the known form")]
pub(crate) struct Unknown;

/// How much of a piece belongs to the skeleton.
#[derive(Debug, PartialEq, Eq)]
enum Piece {
    /// So many bytes are needed to say.
    Short(usize),
    /// All of it; then so many bytes follow that do not.
    Whole(usize),
}

/// Where the next piece of a skeleton ends, as far as its beginning says.
fn piece(begun: bool, bytes: &[u8]) -> Result<Piece, Unknown> {
    if !begun {
        let Some((magic, version)) = bytes.split_at_checked(MAGIC.len()) else {
            return Ok(Piece::Short(PREFACE));
        };
        return match number::<4>(version, 0) {
            None => Ok(Piece::Short(PREFACE)),
            Some(version) if magic == MAGIC && version == u64::from(VERSION) => Ok(Piece::Whole(0)),
            Some(_) => Err(Unknown),
        };
    }
    let Some(length) = number::<4>(bytes, 0).filter(|_| bytes.len() >= HEAD) else {
        return Ok(Piece::Short(HEAD));
    };
    let end = usize::try_from(length).map_or(usize::MAX, |length| HEAD.saturating_add(length));
    // Zeros, which a torn file may end with, have a sound checksum.
    if end > COMMAND_MAX || kind(bytes) == 0 {
        return Err(Unknown);
    }
    if kind(bytes) != WRITE {
        return Ok(if bytes.len() < end { Piece::Short(end) } else { Piece::Whole(0) });
    }
    let mut at = HEAD;
    loop {
        let Some((name, length)) = attribute(bytes, at) else {
            return Ok(Piece::Short(at + ATTRIBUTE));
        };
        at += ATTRIBUTE;
        match name {
            DATA if at + length == end => return Ok(Piece::Whole(length)),
            DATA => return Err(Unknown),
            _ if at + length >= end => return Err(Unknown),
            _ => at += length,
        }
    }
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    let mut wide = [0; 8];
    wide[..N].copy_from_slice(bytes.get(at..at + N)?);
    Some(u64::from_le_bytes(wide))
}

fn kind(command: &[u8]) -> u16 {
    number::<2>(command, 4).and_then(|kind| u16::try_from(kind).ok()).unwrap_or_default()
}

/// The name and the length of the attribute at `at`.
fn attribute(command: &[u8], at: usize) -> Option<(u16, usize)> {
    let (name, length) = (number::<2>(command, at)?, number::<2>(command, at + 2)?);
    Some((u16::try_from(name).ok()?, usize::try_from(length).ok()?))
}

/// The value of an attribute.
fn value(command: &[u8], wanted: u16) -> Option<&[u8]> {
    let mut at = HEAD;
    while let Some((name, length)) = attribute(command, at) {
        at += ATTRIBUTE;
        if name == wanted {
            return command.get(at..at + length);
        }
        at += length;
    }
    None
}

fn is_sound(command: &[u8]) -> bool {
    // The kernel's begins with zeros and is not inverted at the end.
    let sum = crc32c::crc32c_append(!0, &command[..SUM.start]);
    let sum = crc32c::crc32c_append(sum, &[0; SUM.end - SUM.start]);
    let sum = !crc32c::crc32c_append(sum, &command[SUM.end..]);
    number::<4>(command, SUM.start) == Some(u64::from(sum))
}

/// Takes out of a stream what is no part of its skeleton.
#[derive(Debug)]
pub(crate) struct Splitter {
    begun: bool,
    /// The beginning of a piece.
    rest: Vec<u8>,
    /// So many bytes more are no part of it.
    skip: usize,
}

impl Splitter {
    /// For a stream from its beginning, or from behind a piece.
    pub(crate) fn new(begun: bool) -> Self {
        Self { begun, rest: Vec::new(), skip: 0 }
    }

    /// Adds to `skeleton` what ends in this chunk.
    pub(crate) fn split(
        &mut self,
        mut chunk: &[u8],
        skeleton: &mut Vec<u8>,
    ) -> Result<(), Unknown> {
        loop {
            let skipped = self.skip.min(chunk.len());
            (self.skip, chunk) = (self.skip - skipped, &chunk[skipped..]);
            if self.skip > 0 {
                return Ok(());
            }
            match piece(self.begun, &self.rest)? {
                Piece::Short(_) if chunk.is_empty() => return Ok(()),
                Piece::Short(needed) => {
                    let (more, after) = chunk.split_at((needed - self.rest.len()).min(chunk.len()));
                    self.rest.extend_from_slice(more);
                    chunk = after;
                }
                Piece::Whole(skip) => {
                    skeleton.append(&mut self.rest);
                    (self.begun, self.skip) = (true, skip);
                }
            }
        }
    }
}

/// A rename that comes later than what was written before it.
#[derive(Debug)]
struct Renamed {
    place: u64,
    from: PathBuf,
    to: PathBuf,
}

/// Makes a stream again of its skeleton and of what was received of it.
#[derive(Debug)]
pub(crate) struct Kept {
    skeleton: BufReader<File>,
    begun: bool,
    /// How far the skeleton was read.
    pub(crate) place: u64,
    /// Whether what comes next is not whole.
    torn: bool,
    /// What attempts received, the latest first.
    received: Arc<[PathBuf]>,
    renamed: Arc<[Renamed]>,
    /// How many of them were needed, from the latest on.
    n_used: usize,
    /// The file that was read last, by all the names that it had, wherever it is.
    open: Option<(PathBuf, Vec<Candidate>)>,
    path: PathBuf,
}

/// A file that may hold what is missing, and which attempt received it.
#[derive(Debug)]
struct Candidate {
    attempt: usize,
    file: File,
}

/// A step through a stream that is made again.
#[derive(Debug)]
pub(crate) enum Next {
    /// Bytes, and what comes after them.
    More(Bytes, Kept),
    /// The end of what is whole.
    End(Kept),
}

impl Kept {
    /// Reads the skeleton at `path`; what it lacks is searched for in `received`.
    pub(crate) fn open(path: &Path, received: &[PathBuf]) -> io::Result<Self> {
        let mut renamed = Vec::new();
        let mut scan = Self::begin(path.to_owned(), received.into(), Arc::new([]))?;
        let mut command = Vec::new();
        while scan.read_piece(&mut command)?.is_some() {
            if scan.place > PREFACE as u64 && kind(&command) == RENAME {
                let path = |which| value(&command, which).map(to_path);
                if let (Some(from), Some(to)) = (path(PATH), path(PATH_TO)) {
                    renamed.push(Renamed { place: scan.place, from, to });
                }
            }
            command.clear();
        }
        Self::begin(path.to_owned(), received.into(), renamed.into())
    }

    fn begin(path: PathBuf, received: Arc<[PathBuf]>, renamed: Arc<[Renamed]>) -> io::Result<Self> {
        let skeleton = BufReader::with_capacity(64 << 10, File::open(&path)?);
        let (begun, place, torn, n_used, open) = (false, 0, false, 0, None);
        Ok(Self { skeleton, begun, place, torn, received, renamed, n_used, open, path })
    }

    /// The same from its beginning.
    pub(crate) fn again(&self) -> io::Result<Self> {
        Self::begin(self.path.clone(), Arc::clone(&self.received), Arc::clone(&self.renamed))
    }

    /// The attempts of which nothing was needed so far.
    pub(crate) fn unused(&self) -> Vec<PathBuf> {
        self.received[self.n_used..].to_vec()
    }

    /// The next bytes of the stream.
    pub(crate) fn next(mut self) -> io::Result<Next> {
        let mut bytes = Vec::with_capacity(BATCH + COMMAND_MAX);
        while bytes.len() < BATCH && !self.torn {
            self.read_command(&mut bytes)?;
        }
        Ok(if bytes.is_empty() { Next::End(self) } else { Next::More(bytes.into(), self) })
    }

    /// Appends the next command, or nothing where it is not whole.
    fn read_command(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        let (start, place, preface) = (out.len(), self.place, !self.begun);
        let whole = match self.read_piece(out)? {
            None => false,
            Some(_) if preface => true,
            Some(0) => is_sound(&out[start..]),
            Some(length) => self.fetch(out, start, length)?,
        };
        if !whole {
            out.truncate(start);
            (self.place, self.torn) = (place, true);
        }
        Ok(())
    }

    /// Appends the next piece of the skeleton. Answers how many bytes it lacks, or `None` where it is not whole.
    fn read_piece(&mut self, out: &mut Vec<u8>) -> io::Result<Option<usize>> {
        let start = out.len();
        loop {
            match piece(self.begun, &out[start..]) {
                Err(Unknown) => return Ok(None),
                Ok(Piece::Whole(lacks)) => {
                    self.begun = true;
                    self.place += (out.len() - start) as u64;
                    return Ok(Some(lacks));
                }
                Ok(Piece::Short(needed)) => {
                    let missing = needed - (out.len() - start);
                    let mut more = (&mut self.skeleton).take(missing as u64);
                    if more.read_to_end(out)? < missing {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Completes the `write` that begins at `start`, of which so many bytes are missing.
    fn fetch(&mut self, out: &mut Vec<u8>, start: usize, length: usize) -> io::Result<bool> {
        let command = &out[start..];
        let (Some(path), Some(offset)) = (
            value(command, PATH).map(to_path),
            value(command, FILE_OFFSET).and_then(|bytes| number::<8>(bytes, 0)),
        ) else {
            return Ok(false);
        };
        let end = out.len();
        out.resize(end + length, 0);
        let files = match self.open.take() {
            Some((open, files)) if open == path => files,
            _ => self.find(&path),
        };
        let found = files.iter().find(|Candidate { file, .. }| {
            file.read_exact_at(&mut out[end..], offset).is_ok() && is_sound(&out[start..])
        });
        self.n_used = self.n_used.max(found.map_or(0, |found| found.attempt + 1));
        let found = found.is_some();
        self.open = Some((path, files));
        Ok(found)
    }

    /// Every file that may be the one that was called `path` when it was written, those of the latest attempt first.
    fn find(&self, path: &Path) -> Vec<Candidate> {
        let mut names = vec![path.to_owned()];
        let mut name = path.to_owned();
        for renamed in self.renamed.iter().filter(|renamed| renamed.place > self.place) {
            if let Ok(inner) = name.strip_prefix(&renamed.from) {
                // Joining nothing would add a slash.
                let is_it = inner.as_os_str().is_empty();
                name = if is_it { renamed.to.clone() } else { renamed.to.join(inner) };
                names.push(name.clone());
            }
        }
        let mut files = Vec::new();
        for (attempt, received) in self.received.iter().enumerate() {
            let Ok(place) = folder(received) else { continue };
            let found = names.iter().filter_map(|name| beneath(&place, name));
            files.extend(found.map(|file| Candidate { attempt, file }));
        }
        files
    }
}

fn to_path(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    Path::new(std::ffi::OsStr::from_bytes(bytes)).to_owned()
}

fn folder(path: &Path) -> rustix::io::Result<File> {
    rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map(File::from)
}

/// A plain file in the folder, whatever a stream says about names.
fn beneath(folder: impl AsFd, name: &Path) -> Option<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let file = File::from(rustix::fs::openat2(folder, name, flags, Mode::empty(), resolve).ok()?);
    file.metadata().is_ok_and(|metadata| metadata.is_file()).then_some(file)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn command(kind: u16, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = Vec::new();
        for (name, bytes) in attributes {
            body.extend_from_slice(&name.to_le_bytes());
            body.extend_from_slice(&u16::try_from(bytes.len()).unwrap().to_le_bytes());
            body.extend_from_slice(bytes);
        }
        let mut command = u32::try_from(body.len()).unwrap().to_le_bytes().to_vec();
        command.extend_from_slice(&kind.to_le_bytes());
        command.extend_from_slice(&[0; 4]);
        command.extend_from_slice(&body);
        let sum = !crc32c::crc32c_append(!0, &command);
        command[SUM].copy_from_slice(&sum.to_le_bytes());
        command
    }

    fn write(path: &str, offset: u64, data: &[u8]) -> Vec<u8> {
        let offset = offset.to_le_bytes();
        command(WRITE, &[(PATH, path.as_bytes()), (FILE_OFFSET, &offset), (DATA, data)])
    }

    fn rename(from: &str, to: &str) -> Vec<u8> {
        command(RENAME, &[(PATH, from.as_bytes()), (PATH_TO, to.as_bytes())])
    }

    fn preface() -> Vec<u8> {
        [MAGIC, &VERSION.to_le_bytes()].concat()
    }

    struct World {
        folder: tempfile::TempDir,
        received: Vec<PathBuf>,
    }

    impl World {
        /// What an attempt has received: these files.
        fn new(attempts: &[&[(&str, &[u8])]]) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let mut received = Vec::new();
            for (n, files) in attempts.iter().enumerate() {
                let place = folder.path().join(n.to_string());
                fs::create_dir(&place).unwrap();
                for (name, bytes) in *files {
                    let file = place.join(name);
                    fs::create_dir_all(file.parent().unwrap()).unwrap();
                    fs::write(file, bytes).unwrap();
                }
                received.push(place);
            }
            Self { folder, received }
        }

        /// The stream that is made again of the skeleton of this one, which comes in chunks of this length.
        fn again(&self, stream: &[u8], chunk: usize) -> Vec<u8> {
            let (mut splitter, mut skeleton) = (Splitter::new(false), Vec::new());
            for chunk in stream.chunks(chunk) {
                splitter.split(chunk, &mut skeleton).unwrap();
            }
            self.made_of(&skeleton)
        }

        fn made_of(&self, skeleton: &[u8]) -> Vec<u8> {
            let path = self.folder.path().join("skeleton");
            fs::write(&path, skeleton).unwrap();
            let mut kept = Kept::open(&path, &self.received).unwrap();
            let mut bytes = Vec::new();
            while let Next::More(more, rest) = kept.next().unwrap() {
                bytes.extend_from_slice(&more);
                kept = rest;
            }
            bytes
        }
    }

    #[test]
    fn a_stream_is_made_again_however_it_was_cut_into_chunks() {
        let world = World::new(&[&[("d/f", b"0123456789")]]);
        let stream = [
            preface(),
            command(1, &[(PATH, b"snap")]),
            write("d/f", 0, b"01234"),
            write("d/f", 5, b"56789"),
            command(21, &[]),
        ]
        .concat();

        for chunk in [1, 2, 7, 16, 17, 18, 50, stream.len()] {
            assert_eq!(world.again(&stream, chunk), stream, "chunks of {chunk}");
        }
    }

    #[test]
    fn what_is_not_there_any_more_ends_it() {
        let world = World::new(&[&[("f", b"01234"), ("g", b"other")]]);
        let begin = [preface(), write("f", 0, b"01234")].concat();

        for lost in [write("f", 3, b"345"), write("g", 0, b"chang"), write("h", 0, b"x")] {
            let stream = [begin.clone(), lost, write("f", 0, b"01234")].concat();
            assert_eq!(world.again(&stream, 100), begin);
        }
    }

    #[test]
    fn what_was_renamed_later_is_found() {
        let world = World::new(&[&[("b/new", b"content"), ("o1/early", b"early")]]);
        let stream = [
            preface(),
            write("o1/o2", 0, b"content"),
            write("o1/early", 0, b"early"),
            rename("o1/o2", "o1/new"),
            rename("o1", "b"),
        ]
        .concat();

        assert_eq!(world.again(&stream, 100), stream);
    }

    #[test]
    fn every_attempt_is_searched() {
        let world = World::new(&[&[("f", b"01")], &[("f", b"0123")]]);
        let stream = [preface(), write("f", 0, b"01"), write("f", 2, b"23")].concat();

        assert_eq!(world.again(&stream, 100), stream);
    }

    #[test]
    fn a_torn_skeleton_ends_where_it_is_torn() {
        let world = World::new(&[&[("f", b"01234")]]);
        let (first, second) = (write("f", 0, b"01234"), command(18, &[(PATH, b"f")]));
        let begin = [preface(), first].concat();
        let mut splitter = Splitter::new(false);
        let mut skeleton = Vec::new();
        splitter.split(&[begin.clone(), second.clone()].concat(), &mut skeleton).unwrap();

        let short = &skeleton[..skeleton.len() - 1];
        assert!(world.made_of(short) == begin);
        let mut flipped = skeleton.clone();
        *flipped.last_mut().unwrap() ^= 1;
        assert!(world.made_of(&flipped) == begin);
        let zeros = [&skeleton[..skeleton.len() - second.len()], &[0; 4096]].concat();
        assert!(world.made_of(&zeros) == begin);
    }

    #[test]
    fn names_lead_nowhere_else() {
        let world = World::new(&[&[("f", b"in")]]);
        fs::write(world.folder.path().join("outside"), "out").unwrap();
        std::os::unix::fs::symlink("../outside", world.received[0].join("link")).unwrap();

        for name in ["../outside", "link", "/etc/passwd"] {
            assert_eq!(world.again(&[preface(), write(name, 0, b"out")].concat(), 100), preface());
        }
    }

    #[test]
    fn other_streams_are_refused() {
        let mut skeleton = Vec::new();
        let two = [MAGIC, &2_u32.to_le_bytes()].concat();
        let long = [preface(), vec![255; HEAD]].concat();
        for other in [two, vec![7; PREFACE], long] {
            assert_eq!(Splitter::new(false).split(&other, &mut skeleton), Err(Unknown));
        }
    }
}
