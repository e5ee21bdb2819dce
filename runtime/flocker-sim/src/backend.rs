//! The storage of a pretend node: volumes in memory, with the roles, epochs and refusals of the real ones.
//!
//! The pool survives whoever uses it: a crash of the agent is dropping a handle, and another one finds what was answered
//! and whatever was received of an unfinished stream.

mod files;
mod pool;
mod receive;
mod stream;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use flocker_model::{
    ByteSize, Capacity, OperationId, Point, Snapshot, SnapshotTag, Timestamp, VolumeId,
    VolumeOptions, VolumeState,
};
use flocker_ports::{
    Attachment, Backend, BackendError, ByteStream, Change, Description, Op, Receiver, ResumeToken,
    VolumeEpoch,
};
use futures::{StreamExt, stream as streams};
use tokio::time::Instant;

use self::{pool::Pool, receive::SimReceiver, stream::CHUNK};
use crate::{
    clock::BEGINNING,
    faults::{Faults, NoFaults, Outcome, strike},
};

/// A handle of a pool. Clones share it.
#[derive(Debug, Clone)]
pub struct SimBackend {
    pool: Arc<Mutex<Pool>>,
    born: Instant,
    faults: Arc<dyn Faults>,
}

impl SimBackend {
    /// An empty pool. The name is a part of paths and GUIDs, so that no two nodes make the same. To be called in a tokio
    /// runtime, whose clock it uses.
    #[must_use]
    pub fn new(node: &str, size: ByteSize) -> Self {
        let pool = Arc::new(Mutex::new(Pool::new(node, size)));
        Self { pool, born: Instant::now(), faults: Arc::new(NoFaults) }
    }

    /// The same pool behind a driver that fails as `faults` says. Each method of the port asks at `backend.METHOD`; a
    /// stream asks at `backend.send.chunk`, a receiver at `backend.write` and `backend.finish`.
    #[must_use]
    pub fn with_faults(&self, faults: Arc<dyn Faults>) -> Self {
        Self { faults, ..self.clone() }
    }

    /// Writes a file as the container would that an [`Attachment`] of this pool was mounted into.
    ///
    /// # Errors
    /// What the container would see: a volume that is sealed, gone or replaced, no space.
    pub fn write_file(&self, at: &Attachment, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.pool().write_file(at, name, Bytes::copy_from_slice(bytes), self.now())
    }

    /// Reads a file as the container would.
    ///
    /// # Errors
    /// What the container would see.
    pub fn read_file(&self, at: &Attachment, name: &str) -> io::Result<Bytes> {
        self.pool().read_file(at, name)
    }

    /// Whether the path is one of this pool's.
    #[must_use]
    pub fn owns(&self, path: &Path) -> bool {
        path.starts_with(self.pool().root())
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Timestamp {
        BEGINNING + self.born.elapsed()
    }

    fn call<T>(
        &self,
        point: &str,
        effect: impl FnOnce(&mut Pool) -> Result<T, BackendError>,
    ) -> Result<T, BackendError> {
        strike(&*self.faults, point, || injected(point), || effect(&mut self.pool()))
    }
}

/// The error of an injected fault.
fn injected(point: &str) -> BackendError {
    BackendError::Failed {
        action: format!("could not do `{point}`"),
        reason: "a fault was injected".into(),
    }
}

#[async_trait]
impl Backend for SimBackend {
    fn describe(&self) -> Description {
        let features =
            ["snapshot", "incremental-send", "resume", "quota", "clone", "keeping-rollback"]
                .map(String::from)
                .to_vec();
        Description {
            driver: "sim".into(),
            streams: "sim".into(),
            pool: self.pool().root().display().to_string(),
            features,
        }
    }

    async fn capacity(&self) -> Result<Capacity, BackendError> {
        self.call("backend.capacity", |pool| Ok(pool.capacity()))
    }

    async fn volumes(&self) -> Result<Vec<VolumeState>, BackendError> {
        self.call("backend.volumes", |pool| Ok(pool.states()))
    }

    async fn stat(&self, volume: &VolumeId) -> Result<Option<VolumeState>, BackendError> {
        self.call("backend.stat", |pool| Ok(pool.state(volume)))
    }

    async fn written(
        &self,
        volumes: &[VolumeId],
    ) -> Result<BTreeMap<VolumeId, Timestamp>, BackendError> {
        self.call("backend.written", |pool| Ok(pool.written(volumes)))
    }

    async fn written_since(
        &self,
        which: &[(VolumeId, SnapshotTag)],
    ) -> Result<Vec<Option<ByteSize>>, BackendError> {
        self.call("backend.written_since", |pool| Ok(pool.written_since(which)))
    }

    async fn create(
        &self,
        op: &Op,
        volume: &VolumeId,
        options: &VolumeOptions,
        _owner: Option<(u32, u32)>,
    ) -> Result<Change, BackendError> {
        self.call("backend.create", |pool| pool.create(op, volume, options.size))
    }

    async fn clone_volume(
        &self,
        op: &Op,
        source: &VolumeId,
        at: &Point,
        volume: &VolumeId,
    ) -> Result<Change, BackendError> {
        self.call("backend.clone_volume", |pool| pool.clone_volume(op, source, at, volume))
    }

    async fn rollback(
        &self,
        op: &Op,
        volume: &VolumeId,
        to: &Point,
        kept: &VolumeId,
    ) -> Result<Change, BackendError> {
        self.call("backend.rollback", |pool| pool.rollback(op, volume, to, kept))
    }

    async fn resize(
        &self,
        op: &Op,
        volume: &VolumeId,
        size: ByteSize,
    ) -> Result<Change, BackendError> {
        self.call("backend.resize", |pool| pool.resize(op, volume, size))
    }

    async fn destroy(&self, op: &Op, volume: &VolumeId) -> Result<Change, BackendError> {
        self.call("backend.destroy", |pool| pool.destroy(op, volume))
    }

    async fn snapshot(
        &self,
        op: &Op,
        volumes: &[VolumeId],
        tag: &SnapshotTag,
    ) -> Result<Vec<Snapshot>, BackendError> {
        let now = self.now();
        self.call("backend.snapshot", |pool| pool.snapshot(op, volumes, tag, now))
    }

    async fn snapshot_together(
        &self,
        id: &OperationId,
        volumes: &[VolumeEpoch],
        tag: &SnapshotTag,
    ) -> Option<Vec<Snapshot>> {
        let now = self.now();
        let take = |pool: &mut Pool| pool.snapshot_together(id, volumes, tag, now);
        self.call("backend.snapshot_together", take).ok()
    }

    async fn snapshots(&self, volume: &VolumeId) -> Result<Vec<Snapshot>, BackendError> {
        self.call("backend.snapshots", |pool| pool.snapshots(volume))
    }

    async fn destroy_snapshots(
        &self,
        op: &Op,
        volume: &VolumeId,
        which: &[Point],
    ) -> Result<Change, BackendError> {
        self.call("backend.destroy_snapshots", |pool| pool.destroy_snapshots(op, volume, which))
    }

    async fn destroy_snapshots_together(
        &self,
        id: &OperationId,
        which: &[(VolumeEpoch, Vec<Point>)],
    ) -> Option<Vec<Change>> {
        let destroy = |pool: &mut Pool| pool.destroy_snapshots_together(id, which);
        self.call("backend.destroy_snapshots_together", destroy).ok()
    }

    async fn attach(&self, op: &Op, volume: &VolumeId) -> Result<Attachment, BackendError> {
        self.call("backend.attach", |pool| pool.attach(op, volume))
    }

    async fn seal(&self, op: &Op, volume: &VolumeId) -> Result<Change, BackendError> {
        self.call("backend.seal", |pool| pool.seal(op, volume))
    }

    async fn unseal(&self, op: &Op, volume: &VolumeId) -> Result<Change, BackendError> {
        self.call("backend.unseal", |pool| pool.unseal(op, volume))
    }

    async fn promote(
        &self,
        op: &Op,
        volume: &VolumeId,
        at: &Point,
    ) -> Result<Change, BackendError> {
        self.call("backend.promote", |pool| pool.promote(op, volume, at))
    }

    async fn retire(&self, op: &Op, volume: &VolumeId, at: &Point) -> Result<Change, BackendError> {
        self.call("backend.retire", |pool| pool.retire(op, volume, at))
    }

    async fn send(
        &self,
        volume: &VolumeId,
        base: Option<&Point>,
        to: &Point,
        resume: Option<&ResumeToken>,
    ) -> Result<ByteStream, BackendError> {
        let bytes = self.call("backend.send", |pool| pool.send(volume, base, to, resume))?;
        let faults = Arc::clone(&self.faults);
        let chunks = streams::unfold((bytes, false), move |(mut rest, broken)| {
            let point = "backend.send.chunk";
            let next = match (broken || rest.is_empty(), faults.at(point)) {
                (true, _) => None,
                (false, Outcome::Proceed) => {
                    Some((Ok(rest.split_to(CHUNK.min(rest.len()))), (rest, false)))
                }
                (false, Outcome::FailBefore | Outcome::FailAfter) => {
                    Some((Err(injected(point)), (rest, true)))
                }
            };
            futures::future::ready(next)
        });
        Ok(chunks.boxed())
    }

    async fn receive(
        &self,
        op: &Op,
        volume: &VolumeId,
        base: Option<&Point>,
        to: &Point,
        options: &VolumeOptions,
    ) -> Result<Box<dyn Receiver>, BackendError> {
        let begin = |pool: &mut Pool| pool.receive(op, volume, base, to, options.size);
        let opened = self.call("backend.receive", begin)?;
        Ok(Box::new(SimReceiver::new(self.clone(), volume.clone(), opened)))
    }

    async fn abort_receive(&self, op: &Op, volume: &VolumeId) -> Result<Change, BackendError> {
        self.call("backend.abort_receive", |pool| pool.abort_receive(op, volume))
    }
}
