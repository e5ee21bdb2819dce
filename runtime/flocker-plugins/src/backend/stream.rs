//! A tree as bytes: how one snapshot's folder becomes another's, for the way to another node.
//!
//! ```text
//! frame:   length of the record (4 bytes) | record | data, if the record announces any
//! stream:  Begin, steps of the tree, End { bytes in its files }, BLAKE3 of all of it
//! ```
//!
//! The same snapshots always make the same bytes, so a receiver that holds some of them needs only the rest.

use std::{
    io::{self, Read},
    os::fd::OwnedFd,
};

use flocker_model::Point;
use serde::{Deserialize, Serialize};

use super::tree::{self, BLOCK, Record, Source};

/// A record without its data: names and attributes. Larger ones are damage.
const RECORD_BYTES_MAX: usize = 2 << 20;
const VERSION: u32 = 1;
const HASH_BYTES: usize = 32;

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Frame {
    Begin { version: u32, base: Option<String>, to: String },
    Data { offset: u64, length: u32 },
    Step(Record),
    End { bytes: u64 },
}

/// Writes the stream that makes `tree` of `base`, chunk by chunk.
pub(crate) fn write(
    (tree, base): (OwnedFd, Option<OwnedFd>),
    (to, from): (&Point, Option<&Point>),
    chunk: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut hasher = blake3::Hasher::new();
    let mut put = |frame: &Frame, data: &[u8]| {
        let record = postcard::to_allocvec(frame).map_err(io::Error::other)?;
        let length = u32::try_from(record.len()).map_err(io::Error::other)?;
        for part in [&length.to_le_bytes(), record.as_slice(), data] {
            hasher.update(part);
            if !part.is_empty() {
                chunk(part)?;
            }
        }
        io::Result::Ok(())
    };
    let base_guid = from.map(|point| point.guid.0.clone());
    put(&Frame::Begin { version: VERSION, base: base_guid, to: to.guid.0.clone() }, &[])?;
    let bytes = tree::walk(tree, base, Source::Still, &mut |record| {
        if let Record::Data { offset, bytes } = record {
            let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
            put(&Frame::Data { offset, length }, &bytes)
        } else {
            put(&Frame::Step(record), &[])
        }
    })?;
    put(&Frame::End { bytes }, &[])?;
    chunk(hasher.finalize().as_bytes())
}

/// What is wrong with a stream: the bytes, or the disk.
#[derive(Debug)]
pub(crate) enum Damage {
    Stream(String),
    Disk(io::Error),
}

/// Checks that a stream is whole. Nothing is done with it before.
pub(crate) fn verify(stream: &mut dyn Read, length: u64) -> Result<(), Damage> {
    let short = || damaged("it ends too early");
    let body = length.checked_sub(HASH_BYTES as u64).ok_or_else(short)?;
    let mut hasher = blake3::Hasher::new();
    io::copy(&mut stream.take(body), &mut hasher).map_err(Damage::Disk)?;
    let mut announced = [0; HASH_BYTES];
    fill(stream, &mut announced)?;
    if hasher.count() != body || hasher.finalize() != blake3::Hash::from_bytes(announced) {
        return Err(damaged("its hash is not that of its bytes"));
    }
    Ok(())
}

/// Does what a verified stream says, step by step. Answers the bytes in the tree's files.
pub(crate) fn read(
    stream: &mut dyn Read,
    to: &Point,
    from: Option<&Point>,
    step: &mut dyn FnMut(&Record) -> io::Result<()>,
) -> Result<u64, Damage> {
    let Frame::Begin { version, base, to: guid } = next(stream)? else {
        return Err(damaged("it does not say what it is"));
    };
    if version != VERSION {
        return Err(damaged(format!("it has version {version}, this host reads {VERSION}")));
    }
    if guid != to.guid.0 || base != from.map(|point| point.guid.0.clone()) {
        return Err(damaged(format!("it makes snapshot `{guid}`, announced was `{}`", to.guid)));
    }
    loop {
        let record = match next(stream)? {
            Frame::Step(record) => record,
            Frame::Data { offset, length } => {
                if length as usize > BLOCK {
                    return Err(damaged("a block is too large"));
                }
                let mut bytes = vec![0; length as usize];
                fill(stream, &mut bytes)?;
                Record::Data { offset, bytes }
            }
            Frame::End { bytes } => return Ok(bytes),
            Frame::Begin { .. } => return Err(damaged("it begins twice")),
        };
        step(&record).map_err(of_step)?;
    }
}

/// The hash was right, so a step that does not fit is what the sender wrote: its base is not ours.
fn of_step(error: io::Error) -> Damage {
    use io::ErrorKind::{AlreadyExists, InvalidData, NotADirectory, NotFound};
    if matches!(error.kind(), AlreadyExists | InvalidData | NotADirectory | NotFound) {
        damaged(error.to_string())
    } else {
        Damage::Disk(error)
    }
}

fn next(stream: &mut dyn Read) -> Result<Frame, Damage> {
    let mut length = [0; 4];
    fill(stream, &mut length)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > RECORD_BYTES_MAX {
        return Err(damaged("a record is too large"));
    }
    let mut record = vec![0; length];
    fill(stream, &mut record)?;
    postcard::from_bytes(&record).map_err(|error| damaged(error.to_string()))
}

fn fill(stream: &mut dyn Read, buffer: &mut [u8]) -> Result<(), Damage> {
    stream.read_exact(buffer).map_err(|error| {
        let is_short = error.kind() == io::ErrorKind::UnexpectedEof;
        if is_short { damaged("it ends too early") } else { Damage::Disk(error) }
    })
}

fn damaged(reason: impl Into<String>) -> Damage {
    Damage::Stream(reason.into())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use flocker_model::{Guid, SnapshotTag};

    use super::*;

    fn point(guid: &str) -> Point {
        Point { tag: SnapshotTag::new("one").unwrap(), guid: Guid(guid.to_owned()) }
    }

    fn stream_of(folder: &std::path::Path, to: &Point) -> Vec<u8> {
        let mut bytes = Vec::new();
        let tree = fs::File::open(folder).unwrap().into();
        write((tree, None), (to, None), &mut |part| {
            bytes.extend_from_slice(part);
            Ok(())
        })
        .unwrap();
        bytes
    }

    #[test]
    fn the_same_tree_makes_the_same_bytes_and_another_snapshot_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b", "a", "c"] {
            fs::write(folder.path().join(name), vec![7; 300_000]).unwrap();
        }
        let bytes = stream_of(folder.path(), &point("g"));
        assert_eq!(bytes, stream_of(folder.path(), &point("g")));

        let length = bytes.len() as u64;
        assert!(verify(&mut bytes.as_slice(), length).is_ok());
        assert_eq!(
            read(&mut bytes.as_slice(), &point("g"), None, &mut |_| Ok(())).unwrap(),
            900_000
        );
        for (to, from) in [(point("h"), None), (point("g"), Some(point("f")))] {
            let refused = read(&mut bytes.as_slice(), &to, from.as_ref(), &mut |_| Ok(()));
            assert!(matches!(refused, Err(Damage::Stream(_))), "{refused:?}");
        }
    }

    /// Whatever comes: an error, and never more memory than a record takes.
    #[test]
    fn rubbish_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("f"), "text").unwrap();
        let good = stream_of(folder.path(), &point("g"));
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0xff;
            let damaged = verify(&mut bad.as_slice(), bad.len() as u64);
            assert!(matches!(damaged, Err(Damage::Stream(_))), "byte {at}");
            // A sender that computes the right hash of it gets no further than an error.
            let _ = read(&mut bad.as_slice(), &point("g"), None, &mut |_| Ok(()));
        }
    }
}
