//! Sending: the host reads the folders that the plugin names, and writes a stream of what differs.

use std::{io, os::fd::OwnedFd, sync::Arc};

use bytes::{Bytes, BytesMut};
use flocker_model::{Point, VolumeId};
use flocker_ports::{BackendError, ByteStream, ResumeToken};
use futures::stream;
use tokio::sync::{mpsc, oneshot};

use super::{
    answers::{self, Way},
    bindings::exports::flocker::plugin::storage_backend::{Access, Transfer},
    node::Node,
    questions::PlanSend,
    receive, stream as format,
};

/// Chunks on their way to the network; a few hide its hiccups.
const CHUNKS: usize = 4;
/// What a chunk holds at least, but for the last one.
const CHUNK: usize = 1 << 20;

type Chunk = Result<Bytes, BackendError>;

impl Node {
    pub(crate) async fn send(
        self: &Arc<Self>,
        volume: &VolumeId,
        base: Option<&Point>,
        to: &Point,
        resume: Option<&ResumeToken>,
    ) -> Result<ByteStream, BackendError> {
        let held = resume.map(receive::decode).transpose()?;
        let turn = self.turn(volume).await;
        self.need(volume).await?;
        let snapshots = self.all_snapshots(volume).await?;
        let to = self.find(volume, &snapshots, to)?;
        let base = base.map(|base| self.find(volume, &snapshots, base)).transpose()?;
        let reading = self.entry(volume).read(&base.iter().chain([&to]).collect::<Vec<_>>());
        let plan = self.plan(volume, base.as_ref(), &to).await?;
        let folders = self.open_plan(volume, base.is_some(), plan).await?;
        drop(turn);
        let (chunks, mut received) = mpsc::channel(CHUNKS);
        let (ready, is_ready) = oneshot::channel();
        let mut output = Output::new(chunks, held, ready);
        let (node, id) = (Arc::clone(self), volume.clone());
        tokio::task::spawn_blocking(move || {
            let _reading = reading;
            let written =
                format::write(folders, (&to, base.as_ref()), &mut |part| output.put(part));
            output.end(written.map_err(|error| node.io("send", &id, &error)));
        });
        // Until it is certain that the receiver has the same bytes.
        match is_ready.await {
            Ok(ready) => ready?,
            Err(_) => return Err(self.wrong("send", Some(volume), "its reader ended".to_owned())),
        }
        Ok(Box::pin(stream::poll_fn(move |context| received.poll_recv(context))))
    }

    async fn plan(
        &self,
        volume: &VolumeId,
        base: Option<&Point>,
        to: &Point,
    ) -> Result<Transfer, BackendError> {
        let (base, to) = (base.map(answers::point), answers::point(to));
        self.look(Some(volume), PlanSend { name: volume.to_string(), base, to }).await
    }

    /// Opens what a plan names.
    async fn open_plan(
        self: &Arc<Self>,
        volume: &VolumeId,
        needs_base: bool,
        plan: Transfer,
    ) -> Result<(OwnedFd, Option<OwnedFd>), BackendError> {
        let base = self.base_way("plan-send", volume, needs_base, plan.base)?;
        let way = self.checked("plan-send", Some(volume), answers::way(plan.via))?;
        let node = Arc::clone(self);
        let open = move || {
            let base = base.map(|base| node.folder(&base)).transpose()?;
            Ok((node.folder(&way)?, base))
        };
        let opened = tokio::task::spawn_blocking(open).await.map_err(io::Error::other).flatten();
        opened.map_err(|e| self.wrong("plan-send", Some(volume), e.to_string()))
    }

    /// Where a plan has the base, if one is needed.
    pub(crate) fn base_way(
        &self,
        function: &'static str,
        volume: &VolumeId,
        needs_base: bool,
        base: Option<Access>,
    ) -> Result<Option<Way>, BackendError> {
        if !needs_base {
            return Ok(None);
        }
        let way = base
            .ok_or_else(|| "it does not say where the base is".to_owned())
            .and_then(answers::way);
        self.checked(function, Some(volume), way).map(Some)
    }

    /// Opens the files that are there. It may mount something.
    pub(crate) fn folder(&self, way: &Way) -> io::Result<OwnedFd> {
        match way {
            Way::Folder(path) => self.plugin.shared.folders.folder(path),
            Way::Device(path) => self.mounts.devices.look(path),
        }
    }
}

/// Where a stream's bytes go: past what the receiver has, and then in chunks to whoever sends them.
struct Output {
    chunks: mpsc::Sender<Chunk>,
    buffer: BytesMut,
    /// Bytes that the receiver has, and their hash.
    held: Option<(u64, blake3::Hash)>,
    hasher: blake3::Hasher,
    ready: Option<oneshot::Sender<Result<(), BackendError>>>,
}

impl Output {
    fn new(
        chunks: mpsc::Sender<Chunk>,
        held: Option<(u64, blake3::Hash)>,
        ready: oneshot::Sender<Result<(), BackendError>>,
    ) -> Self {
        let (buffer, hasher) = (BytesMut::with_capacity(CHUNK), blake3::Hasher::new());
        Self { chunks, buffer, held, hasher, ready: Some(ready) }
    }

    fn put(&mut self, part: &[u8]) -> io::Result<()> {
        let fresh = self.skip(part)?;
        self.buffer.extend_from_slice(fresh);
        if self.buffer.len() >= CHUNK { self.pass_on() } else { Ok(()) }
    }

    /// Drops what the receiver has, after proof that it is the same.
    fn skip<'a>(&mut self, part: &'a [u8]) -> io::Result<&'a [u8]> {
        let Some((length, hash)) = self.held else {
            self.is_ready(Ok(()));
            return Ok(part);
        };
        let missing = usize::try_from(length - self.hasher.count()).unwrap_or(usize::MAX);
        let (known, fresh) = part.split_at(missing.min(part.len()));
        self.hasher.update(known);
        if self.hasher.count() == length {
            if self.hasher.finalize() != hash {
                return Err(self.cannot_resume("its bytes are not those of this stream"));
            }
            self.held = None;
            self.is_ready(Ok(()));
        }
        Ok(fresh)
    }

    fn cannot_resume(&mut self, reason: &str) -> io::Error {
        self.is_ready(Err(BackendError::CannotResume {
            reason: format!("the receiver: {reason}"),
        }));
        io::Error::other("cannot resume")
    }

    fn is_ready(&mut self, ready: Result<(), BackendError>) {
        if let Some(waiting) = self.ready.take() {
            // Whoever asked may be gone; the next chunk tells.
            let _ = waiting.send(ready);
        }
    }

    fn pass_on(&mut self) -> io::Result<()> {
        let chunk = self.buffer.split().freeze();
        self.chunks.blocking_send(Ok(chunk)).map_err(|_| io::Error::other("nobody receives"))
    }

    fn end(&mut self, written: Result<(), BackendError>) {
        let ended = match written {
            Ok(()) if self.held.is_some() => {
                self.cannot_resume("it has more than this stream is long");
                return;
            }
            Ok(()) => self.pass_on().map_err(|_| None),
            Err(error) => Err(Some(error)),
        };
        if let Err(Some(error)) = ended {
            match self.ready.take() {
                Some(waiting) => drop(waiting.send(Err(error))),
                None => drop(self.chunks.blocking_send(Err(error))),
            }
        }
    }
}
