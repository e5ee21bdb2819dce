//! Sending: what the helper writes into a pipe, from the beginning or from where a receiver stopped.

use std::os::fd::{AsFd, OwnedFd};

use bytes::{Bytes, BytesMut};
use flocker_model::{Point, VolumeId};
use flocker_ports::{BackendError, ByteStream, ResumeToken};
use flocker_zfs_wire::{Call, Map, ResumeAt, SendFlags, Value};
use futures::stream;
use tokio::{io::AsyncReadExt, net::unix::pipe};

use crate::{
    backend::Node,
    errors::{About, describe},
    helper::{CallError, Pending},
    state::{MARK, State},
    stream::Announced,
};

/// What one read takes at most; also the size of the pipe, so that the kernel seldom waits for us.
pub(crate) const CHUNK: usize = 1 << 20;

/// A running send. Dropped, its pipe breaks and the helper gives up.
#[derive(Debug)]
struct Sending {
    pipe: pipe::Receiver,
    answer: Option<Pending>,
    volume: VolumeId,
    pool: String,
    buffer: BytesMut,
}

/// Where an unfinished receive may go on, as its token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) announced: Announced,
    at: ResumeAt,
    flags: SendFlags,
    /// The bytes that came so far.
    pub(crate) n_bytes: u64,
}

impl Token {
    pub(crate) fn parse(says: &Map) -> Option<Self> {
        let number = |name: &str| says.get(name).and_then(Value::number);
        let flag = |name: &str| says.contains_key(name);
        Some(Self {
            announced: Announced {
                to: number("toguid")?,
                base: number("fromguid").filter(|base| *base != 0),
            },
            at: ResumeAt { object: number("object")?, offset: number("offset")? },
            flags: SendFlags {
                embedded: flag("embedok"),
                large_blocks: flag("largeblockok"),
                compressed: flag("compressok"),
                raw: flag("rawok"),
            },
            n_bytes: number("bytes").unwrap_or_default(),
        })
    }
}

/// What a stream between two snapshots makes. An identity that is none of ZFS's is zero here, which no snapshot has.
pub(crate) fn announced(base: Option<&Point>, to: &Point) -> Announced {
    let guid = |point: &Point| point.guid.0.parse().unwrap_or(0);
    Announced { to: guid(to), base: base.map(guid) }
}

/// A pipe, as large as it is of use.
pub(crate) fn pipe() -> std::io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    // A small pipe works as well, only slower.
    let _ = rustix::pipe::fcntl_setpipe_size(writer.as_fd(), CHUNK);
    Ok((reader, writer))
}

impl Node {
    pub(crate) async fn send(
        &self,
        volume: &VolumeId,
        base: Option<&Point>,
        to: &Point,
        resume: Option<&ResumeToken>,
    ) -> Result<ByteStream, BackendError> {
        let state = self.need(volume).await?;
        let dataset = self.dataset(volume);
        let snapshot = snapshot_of(&state, volume, &dataset, to)?;
        let base_name = match base {
            Some(base) => Some(self.base_name(&state, volume, base).await?),
            None => None,
        };
        let (mut flags, mut at) = (
            SendFlags {
                embedded: !state.encrypted,
                large_blocks: true,
                compressed: true,
                // What was encrypted with a key of ours is never decrypted on the way.
                raw: state.secret.is_some(),
            },
            None,
        );
        if let Some(resume) = resume {
            let token = self.token(resume, base, to).await?;
            (flags, at) = (token.flags, Some(token.at));
        }
        let failed = |error: std::io::Error| {
            self.about("could not send", volume).failed(format!("could not make a pipe: {error}"))
        };
        let (reader, writer) = pipe().map_err(failed)?;
        let pipe = pipe::Receiver::from_owned_fd(reader).map_err(failed)?;
        let send = Call::Send { snapshot, base: base_name, flags, resume: at };
        let answer = self.helper.begin(send, Some(writer)).await;
        let answer =
            Some(answer.map_err(|error| self.about("could not send", volume).explain(error))?);
        let (volume, pool) = (volume.clone(), self.parent.clone());
        Ok(Sending { pipe, answer, volume, pool, buffer: BytesMut::new() }.into_stream())
    }

    /// The snapshot, or the bookmark that is left of it.
    async fn base_name(
        &self,
        state: &State,
        volume: &VolumeId,
        base: &Point,
    ) -> Result<String, BackendError> {
        let gone = match snapshot_of(state, volume, &self.dataset(volume), base) {
            Ok(name) => return Ok(name),
            Err(gone) => gone,
        };
        let marks = self.marks(volume).await?;
        let mark = marks.into_iter().find(|(_, point)| point.guid == base.guid);
        mark.map(|(name, _)| name).ok_or(gone)
    }

    /// What a receiver's token says, if it belongs to this stream.
    async fn token(
        &self,
        token: &ResumeToken,
        base: Option<&Point>,
        to: &Point,
    ) -> Result<Token, BackendError> {
        let refuse = |reason: String| BackendError::CannotResume { reason };
        let says = self.helper.call(Call::ReadToken { token: token.0.clone() }).await;
        let says = says.map_err(|error| match error {
            CallError::Refused(failure) => refuse(describe(&failure)),
            CallError::Unknown(reason) => refuse(reason),
        })?;
        let token =
            Token::parse(&says).ok_or_else(|| refuse("the token says too little".to_owned()))?;
        if token.announced != announced(base, to) {
            return Err(refuse("the receiver holds a part of another stream".to_owned()));
        }
        Ok(token)
    }
}

/// The full name of the snapshot of this identity.
fn snapshot_of(
    state: &State,
    volume: &VolumeId,
    dataset: &str,
    point: &Point,
) -> Result<String, BackendError> {
    let found = state.by_guid(&point.guid).ok_or_else(|| BackendError::NoSuchSnapshot {
        volume: volume.clone(),
        tag: point.tag.clone(),
    })?;
    Ok(format!("{dataset}@{MARK}{}", found.point.tag))
}

impl Sending {
    /// The next bytes; none at the end of a stream that is complete.
    async fn next(&mut self) -> Result<Bytes, BackendError> {
        let about = About { action: "could not send", volume: &self.volume, pool: &self.pool };
        self.buffer.reserve(CHUNK);
        let read = self.pipe.read_buf(&mut self.buffer).await;
        if read.map_err(|error| about.failed(error.to_string()))? > 0 {
            return Ok(self.buffer.split().freeze());
        }
        if let Some(answer) = self.answer.take() {
            answer.wait().await.map_err(|error| about.explain(error))?;
        }
        Ok(Bytes::new())
    }

    fn into_stream(self) -> ByteStream {
        Box::pin(stream::try_unfold(self, |mut sending| async move {
            let chunk = sending.next().await?;
            Ok((!chunk.is_empty()).then_some((chunk, sending)))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_where_and_how_a_stream_goes_on() {
        let says = |pairs: &[(&str, Value)]| {
            let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
            Token::parse(&pairs.collect())
        };
        let numbers = ["object", "offset", "toguid", "fromguid"];
        let mut pairs: Vec<_> =
            numbers.iter().zip(1..).map(|(name, n)| (*name, Value::Unsigned(n))).collect();
        pairs.push(("compressok", Value::Flag));

        let token = says(&pairs).unwrap();
        assert_eq!(token.announced, Announced { to: 3, base: Some(4) });
        assert_eq!(token.at, ResumeAt { object: 1, offset: 2 });
        assert!(token.flags.compressed && !token.flags.raw);
        assert_eq!(says(&pairs[..2]), None);
    }
}
