//! The bytes that make one snapshot out of another: what changed, file by file, closed by a checksum over all of it.

use std::hash::{DefaultHasher, Hasher};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use flocker_model::{Guid, Point, VolumeId};
use flocker_ports::{BackendError, ResumeToken};

use super::{files::Files, pool::Pool};

/// Bytes of one piece of a stream.
pub(super) const CHUNK: usize = 64 << 10;

/// How every stream begins.
const MAGIC: &[u8] = b"flocker-sim stream 1\n";

/// Not for enemies, but no accident gets past it. The same on every run.
fn checksum(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

fn put_text(stream: &mut BytesMut, text: &[u8]) {
    stream.put_u64(text.len() as u64);
    stream.put_slice(text);
}

/// The files that differ, and `None` for those that are gone.
fn difference<'f>(
    base: &'f Files,
    to: &'f Files,
) -> impl Iterator<Item = (&'f str, Option<&'f Bytes>)> {
    let changed = to.iter().filter(|(name, bytes)| base.get(*name) != Some(bytes));
    let gone = base.keys().filter(|name| !to.contains_key(*name));
    changed
        .map(|(name, bytes)| (name.as_str(), Some(bytes)))
        .chain(gone.map(|name| (name.as_str(), None)))
}

/// The whole stream.
fn write(base: Option<(&Point, &Files)>, to: &Point, files: &Files) -> Bytes {
    let empty = Files::new();
    let mut stream = BytesMut::new();
    stream.put_slice(MAGIC);
    put_text(&mut stream, base.map_or("", |(point, _)| &point.guid.0).as_bytes());
    put_text(&mut stream, to.guid.0.as_bytes());
    for (name, bytes) in difference(base.map_or(&empty, |(_, files)| files), files) {
        put_text(&mut stream, name.as_bytes());
        stream.put_u8(u8::from(bytes.is_some()));
        put_text(&mut stream, bytes.map_or(&[][..], |bytes| bytes));
    }
    stream.put_u64(checksum(&stream));
    stream.freeze()
}

fn corrupt(reason: &str) -> BackendError {
    BackendError::CorruptStream { reason: reason.to_owned() }
}

fn take(stream: &mut Bytes, len: u64) -> Result<Bytes, BackendError> {
    let len = usize::try_from(len).ok().filter(|len| *len <= stream.len());
    Ok(stream.split_to(len.ok_or_else(|| corrupt("it ends too early"))?))
}

fn take_text(stream: &mut Bytes) -> Result<Bytes, BackendError> {
    let len = stream.try_get_u64().map_err(|_| corrupt("it ends too early"))?;
    take(stream, len)
}

/// What the stream makes of the base's files, and the snapshot that this is.
pub(super) fn read(
    mut stream: Bytes,
    base: Option<(&Point, &Files)>,
) -> Result<(Guid, Files), BackendError> {
    let Some(body) = stream.len().checked_sub(8).filter(|len| *len >= MAGIC.len()) else {
        return Err(corrupt("it ends too early"));
    };
    let mut sum = stream.split_off(body);
    if sum.get_u64() != checksum(&stream) || !stream.starts_with(MAGIC) {
        return Err(corrupt("its checksum does not match"));
    }
    stream.advance(MAGIC.len());
    if take_text(&mut stream)? != base.map_or("", |(point, _)| &point.guid.0).as_bytes() {
        return Err(corrupt("it is made for another base"));
    }
    let text =
        |bytes: Bytes| String::from_utf8(bytes.into()).map_err(|_| corrupt("a name is not text"));
    let guid = Guid(text(take_text(&mut stream)?)?);
    let mut files = base.map_or_else(Files::new, |(_, files)| files.clone());
    while !stream.is_empty() {
        let name = text(take_text(&mut stream)?)?;
        let kept = take(&mut stream, 1)?.get_u8() != 0;
        let bytes = take_text(&mut stream)?;
        if kept {
            files.insert(name, bytes);
        } else {
            files.remove(&name);
        }
    }
    Ok((guid, files))
}

/// How far a receiver has come, and what its bytes are.
pub(super) fn token(received: &[u8]) -> ResumeToken {
    ResumeToken(format!("{}-{:016x}", received.len(), checksum(received)))
}

/// What the receiver lacks of the stream, if it holds the beginning of this one.
fn rest(mut stream: Bytes, resume: &ResumeToken) -> Result<Bytes, BackendError> {
    let refuse = |reason: &str| BackendError::CannotResume { reason: reason.to_owned() };
    let n_held = resume.0.split_once('-').and_then(|(n, _)| n.parse::<usize>().ok());
    let n_held = n_held.ok_or_else(|| refuse("the token is not one of ours"))?;
    if n_held > stream.len() || token(&stream[..n_held]) != *resume {
        return Err(refuse("the receiver holds other bytes"));
    }
    Ok(stream.split_off(n_held))
}

impl Pool {
    pub(super) fn send(
        &mut self,
        id: &VolumeId,
        base: Option<&Point>,
        to: &Point,
        resume: Option<&ResumeToken>,
    ) -> Result<Bytes, BackendError> {
        let volume = self.need(id)?;
        let goal = volume.find(id, to)?;
        let base = match base {
            Some(base) => Some((base, &volume.find(id, base)?.files)),
            None => None,
        };
        let whole = write(base, to, &goal.files);
        resume.map_or(Ok(whole.clone()), |resume| rest(whole, resume))
    }
}
