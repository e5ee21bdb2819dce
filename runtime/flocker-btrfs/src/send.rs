//! Sending: the output of `btrfs send`, from its beginning or from where a receiver stopped.

use std::{os::fd::AsFd, process::Stdio};

use bytes::{Bytes, BytesMut};
use flocker_model::{Point, VolumeId};
use flocker_ports::{BackendError, ByteStream, ResumeToken};
use flocker_system::command::command;
use futures::stream;
use tokio::{
    io::AsyncReadExt,
    process::{Child, ChildStdout},
};

use crate::{backend::Node, command::Btrfs, spool::decode};

/// What one read takes at most; also the size of the pipe, so that `btrfs send` seldom waits for us.
const CHUNK: usize = 1 << 20;

/// A running `btrfs send`. Dropped, the program is killed.
#[derive(Debug)]
struct Sending {
    child: Child,
    stdout: ChildStdout,
    btrfs: Btrfs,
    buffer: BytesMut,
}

impl Node {
    pub(crate) async fn send(
        &self,
        volume: &VolumeId,
        base: Option<&Point>,
        to: &Point,
        resume: Option<&ResumeToken>,
    ) -> Result<ByteStream, BackendError> {
        self.need(volume).await?;
        let points = self.points(volume).await?;
        let mut arguments = vec!["send".into(), "--quiet".into()];
        if let Some(base) = base {
            arguments.push("-p".into());
            arguments.push(self.subvolume_of(volume, base, &points)?.into_os_string());
        }
        arguments.push(self.subvolume_of(volume, to, &points)?.into_os_string());
        let mut command = command(&self.btrfs().program);
        command.args(&arguments).stdout(Stdio::piped());
        let failed =
            |error| self.btrfs().io("could not start `btrfs send`", &self.btrfs().program, &error);
        let mut child = command.spawn().map_err(failed)?;
        let Some(stdout) = child.stdout.take() else {
            return Err(failed(std::io::Error::other("it has no output")));
        };
        // A small pipe works as well, only slower.
        let _ = rustix::pipe::fcntl_setpipe_size(stdout.as_fd(), CHUNK);
        let mut sending =
            Sending { child, stdout, btrfs: self.btrfs().clone(), buffer: BytesMut::new() };
        let first = match resume {
            Some(token) => sending.skip(token).await?,
            None => Bytes::new(),
        };
        Ok(sending.into_stream(first))
    }
}

impl Sending {
    /// The next bytes; none at the end of a stream that is complete.
    async fn next(&mut self) -> Result<Bytes, BackendError> {
        let action = "could not read from `btrfs send`";
        self.buffer.reserve(CHUNK);
        let read = self.stdout.read_buf(&mut self.buffer).await;
        let n = read.map_err(|error| self.btrfs.io(action, &self.btrfs.program, &error))?;
        if n > 0 {
            return Ok(self.buffer.split().freeze());
        }
        let mut stderr = Vec::new();
        if let Some(pipe) = self.child.stderr.as_mut() {
            // It prints one line per error and stops at the first, so the pipe never filled.
            let _ = pipe.take(64 << 10).read_to_end(&mut stderr).await;
        }
        let status = self
            .child
            .wait()
            .await
            .map_err(|error| self.btrfs.io(action, &self.btrfs.program, &error))?;
        if status.success() {
            return Ok(Bytes::new());
        }
        Err(self.btrfs.explain("could not send a snapshot", &stderr, &status.to_string()))
    }

    /// Drops what the receiver has, after proof that it is the same. Answers the rest of the chunk that was cut.
    async fn skip(&mut self, token: &ResumeToken) -> Result<Bytes, BackendError> {
        let (offset, expected) = decode(token)?;
        let mut hasher = blake3::Hasher::new();
        loop {
            let missing = offset - hasher.count();
            let mut chunk = if missing == 0 { Bytes::new() } else { self.next().await? };
            if missing > 0 && chunk.is_empty() {
                let reason = format!("the receiver has {offset} bytes, the stream is shorter");
                return Err(BackendError::CannotResume { reason });
            }
            let prefix =
                chunk.split_to(chunk.len().min(usize::try_from(missing).unwrap_or(usize::MAX)));
            hasher.update(&prefix);
            if hasher.count() == offset {
                if hasher.finalize() == expected {
                    return Ok(chunk);
                }
                let reason =
                    format!("the receiver's first {offset} bytes are not those of this stream");
                return Err(BackendError::CannotResume { reason });
            }
        }
    }

    fn into_stream(self, first: Bytes) -> ByteStream {
        Box::pin(stream::try_unfold((self, first), |(mut sending, first)| async move {
            let chunk = if first.is_empty() { sending.next().await? } else { first };
            Ok((!chunk.is_empty()).then_some((chunk, (sending, Bytes::new()))))
        }))
    }
}
