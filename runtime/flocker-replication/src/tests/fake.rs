//! A backend in memory, whose volumes only ever grow: the stream from one snapshot to another is what was added.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use flocker_model::{
    ByteSize, Capacity, Epoch, Guid, Point, Role, Snapshot, SnapshotTag, Timestamp, VolumeId,
    VolumeOptions, VolumeState,
};
use flocker_ports::{
    Attachment, Backend, BackendError, ByteStream, Change, Description, Op, Receiver, ResumeToken,
};
use futures::{StreamExt, stream};

/// What a test can make go wrong or slowly.
#[derive(Debug, Default, Clone)]
pub(super) struct Knobs {
    /// Sends cannot go on from a token.
    pub(super) no_resume: bool,
    /// The pool is full after so many bytes.
    pub(super) room: Option<usize>,
    /// A call to `finish` or `send` takes so long.
    pub(super) delay: Duration,
    /// A longer stream stops after so many bytes, without an end.
    pub(super) hangs_after: Option<usize>,
    /// Pieces in which streams are produced.
    pub(super) piece: Option<usize>,
    /// The stream breaks after so many bytes.
    pub(super) fails_after: Option<usize>,
}

#[derive(Debug, Default, Clone)]
pub(super) struct Volume {
    pub(super) epoch: u64,
    pub(super) snapshots: Vec<(Point, Vec<u8>)>,
    /// What was received of a snapshot, after its base.
    pub(super) half: Option<(Guid, Vec<u8>)>,
}

#[derive(Debug, Default)]
pub(super) struct Fake {
    pub(super) volumes: Arc<Mutex<BTreeMap<VolumeId, Volume>>>,
    pub(super) knobs: Knobs,
    /// Bytes that were written to receivers, over all attempts.
    pub(super) written: Arc<AtomicUsize>,
    /// Streams that exist at the moment.
    pub(super) open: Arc<AtomicUsize>,
}

pub(super) fn volume() -> VolumeId {
    VolumeId::new("v-1").unwrap()
}

pub(super) fn guid(content: &[u8]) -> Guid {
    Guid(blake3::hash(content).to_hex()[..16].to_owned())
}

impl Fake {
    pub(super) fn new(knobs: Knobs) -> Self {
        Self { knobs, ..Self::default() }
    }

    /// A snapshot of the volume with this content.
    pub(super) fn add(&self, tag: &str, content: &[u8]) -> Point {
        let point = Point { tag: SnapshotTag::new(tag).unwrap(), guid: guid(content) };
        let mut volumes = self.volumes.lock().unwrap();
        volumes.entry(volume()).or_default().snapshots.push((point.clone(), content.to_vec()));
        point
    }

    pub(super) fn content(&self, point: &Point) -> Option<Vec<u8>> {
        let volumes = self.volumes.lock().unwrap();
        Some(volumes.get(&volume())?.snapshots.iter().find(|(p, _)| p == point)?.1.clone())
    }

    pub(super) fn half(&self) -> Option<usize> {
        let volumes = self.volumes.lock().unwrap();
        Some(volumes.get(&volume())?.half.as_ref()?.1.len())
    }

    fn base(&self, base: Option<&Point>) -> Result<Vec<u8>, BackendError> {
        let Some(base) = base else { return Ok(Vec::new()) };
        self.content(base)
            .ok_or_else(|| BackendError::NoSuchSnapshot { volume: volume(), tag: base.tag.clone() })
    }
}

async fn takes(time: Duration) {
    if !time.is_zero() {
        let _ = tokio::time::timeout(time, std::future::pending::<()>()).await;
    }
}

fn snapshot(point: &Point, content: &[u8]) -> Snapshot {
    Snapshot {
        point: point.clone(),
        taken: Timestamp(0),
        referenced: ByteSize(content.len() as u64),
    }
}

/// Counts a stream until it is dropped.
struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Backend for Fake {
    async fn stat(&self, id: &VolumeId) -> Result<Option<VolumeState>, BackendError> {
        let volumes = self.volumes.lock().unwrap();
        Ok(volumes.get(id).map(|v| VolumeState {
            id: id.clone(),
            role: Role::Replica,
            epoch: Epoch(v.epoch),
            size: ByteSize::gib(1),
            used: ByteSize(0),
        }))
    }

    async fn snapshots(&self, id: &VolumeId) -> Result<Vec<Snapshot>, BackendError> {
        let volumes = self.volumes.lock().unwrap();
        let volume = volumes.get(id).ok_or_else(|| BackendError::NoSuchVolume(id.clone()))?;
        Ok(volume.snapshots.iter().map(|(p, c)| snapshot(p, c)).collect())
    }

    async fn send(
        &self,
        id: &VolumeId,
        base: Option<&Point>,
        to: &Point,
        resume: Option<&ResumeToken>,
    ) -> Result<ByteStream, BackendError> {
        takes(self.knobs.delay).await;
        let no_snapshot =
            || BackendError::NoSuchSnapshot { volume: id.clone(), tag: to.tag.clone() };
        let content = self.content(to).ok_or_else(no_snapshot)?;
        let mut from = self.base(base)?.len();
        if let Some(token) = resume {
            let cannot =
                || BackendError::CannotResume { reason: format!("`{}` is not known", token.0) };
            let (guid, offset) = token.0.split_once(':').ok_or_else(cannot)?;
            if guid != to.guid.0 || self.knobs.no_resume {
                return Err(cannot());
            }
            from += offset.parse::<usize>().unwrap();
        }
        let bytes = Bytes::from(content).slice(from..);
        let piece = self.knobs.piece.unwrap_or(1 << 20);
        let mut pieces: Vec<_> = (0..bytes.len())
            .step_by(piece)
            .map(|at| Ok(bytes.slice(at..bytes.len().min(at + piece))))
            .collect();
        let hangs = self.knobs.hangs_after.is_some_and(|after| pieces.len() > after / piece);
        if let Some(after) = self.knobs.hangs_after.or(self.knobs.fails_after) {
            pieces.truncate(after / piece);
        }
        if self.knobs.fails_after.is_some() {
            pieces.push(Err(BackendError::Failed {
                action: "read".to_owned(),
                reason: "bad sector".to_owned(),
            }));
        }
        self.open.fetch_add(1, Ordering::SeqCst);
        let open = Open(self.open.clone());
        let pieces = stream::iter(pieces).inspect(move |_| {
            let _ = &open;
        });
        Ok(if hangs { pieces.chain(stream::pending()).boxed() } else { pieces.boxed() })
    }

    async fn receive(
        &self,
        op: &Op,
        id: &VolumeId,
        base: Option<&Point>,
        to: &Point,
        _options: &VolumeOptions,
    ) -> Result<Box<dyn Receiver>, BackendError> {
        let base = self.base(base)?;
        let mut volumes = self.volumes.lock().unwrap();
        let volume = volumes.entry(id.clone()).or_default();
        volume.epoch = volume.epoch.max(op.epoch.0);
        match &volume.half {
            Some((guid, _)) if *guid != to.guid => {
                return Err(BackendError::CannotResume {
                    reason: "the half is of another snapshot".to_owned(),
                });
            }
            Some(_) | None => {}
        }
        let held = volume.half.as_ref().map(|(_, bytes)| bytes.len()).filter(|n| *n > 0);
        volume.half.get_or_insert_with(|| (to.guid.clone(), Vec::new()));
        let (volumes, written) = (self.volumes.clone(), self.written.clone());
        Ok(Box::new(FakeReceiver {
            volumes,
            written,
            knobs: self.knobs.clone(),
            base,
            to: to.clone(),
            held,
        }))
    }

    async fn abort_receive(&self, _op: &Op, id: &VolumeId) -> Result<Change, BackendError> {
        let mut volumes = self.volumes.lock().unwrap();
        Ok(match volumes.get_mut(id).and_then(|v| v.half.take()) {
            Some(_) => Change::Made,
            None => Change::None,
        })
    }

    fn describe(&self) -> Description {
        let (driver, pool) = ("fake".to_owned(), "memory".to_owned());
        Description { streams: driver.clone(), driver, pool, features: Vec::new() }
    }
    async fn capacity(&self) -> Result<Capacity, BackendError> {
        Ok(Capacity::default())
    }
    async fn volumes(&self) -> Result<Vec<VolumeState>, BackendError> {
        unreachable!("replication looks at one volume only")
    }
    async fn create(
        &self,
        _: &Op,
        _: &VolumeId,
        _: &VolumeOptions,
        _: Option<(u32, u32)>,
    ) -> Result<Change, BackendError> {
        unreachable!("replication makes no live volumes")
    }
    async fn resize(&self, _: &Op, _: &VolumeId, _: ByteSize) -> Result<Change, BackendError> {
        unreachable!("replication resizes nothing")
    }
    async fn destroy(&self, _: &Op, _: &VolumeId) -> Result<Change, BackendError> {
        unreachable!("replication destroys nothing")
    }
    async fn snapshot(
        &self,
        _: &Op,
        _: &[VolumeId],
        _: &SnapshotTag,
    ) -> Result<Vec<Snapshot>, BackendError> {
        unreachable!("replication takes no snapshots")
    }
    async fn destroy_snapshots(
        &self,
        _: &Op,
        _: &VolumeId,
        _: &[Point],
    ) -> Result<Change, BackendError> {
        unreachable!("replication destroys nothing")
    }
    async fn attach(&self, _: &Op, _: &VolumeId) -> Result<Attachment, BackendError> {
        unreachable!("replication mounts nothing")
    }
    async fn seal(&self, _: &Op, _: &VolumeId) -> Result<Change, BackendError> {
        unreachable!("replication changes no role")
    }
    async fn unseal(&self, _: &Op, _: &VolumeId) -> Result<Change, BackendError> {
        unreachable!("replication changes no role")
    }
    async fn promote(&self, _: &Op, _: &VolumeId, _: &Point) -> Result<Change, BackendError> {
        unreachable!("replication changes no role")
    }
    async fn retire(&self, _: &Op, _: &VolumeId, _: &Point) -> Result<Change, BackendError> {
        unreachable!("replication changes no role")
    }
}

#[derive(Debug)]
struct FakeReceiver {
    volumes: Arc<Mutex<BTreeMap<VolumeId, Volume>>>,
    written: Arc<AtomicUsize>,
    knobs: Knobs,
    base: Vec<u8>,
    to: Point,
    held: Option<usize>,
}

#[async_trait]
impl Receiver for FakeReceiver {
    fn resume_token(&self) -> Option<ResumeToken> {
        self.held.map(|held| ResumeToken(format!("{}:{held}", self.to.guid)))
    }

    fn held(&self) -> ByteSize {
        ByteSize(self.held.unwrap_or_default() as u64)
    }

    async fn write(&mut self, chunk: Bytes) -> Result<(), BackendError> {
        let mut volumes = self.volumes.lock().unwrap();
        let (_, half) = volumes.get_mut(&volume()).unwrap().half.as_mut().unwrap();
        if self.knobs.room.is_some_and(|room| half.len() + chunk.len() > room) {
            return Err(BackendError::PoolFull { pool: "memory".to_owned() });
        }
        half.extend_from_slice(&chunk);
        self.written.fetch_add(chunk.len(), Ordering::SeqCst);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<Snapshot, BackendError> {
        takes(self.knobs.delay).await;
        let mut volumes = self.volumes.lock().unwrap();
        let volume = volumes.get_mut(&volume()).unwrap();
        let content = [self.base.as_slice(), &volume.half.as_ref().unwrap().1].concat();
        if guid(&content) != self.to.guid {
            return Err(BackendError::CorruptStream {
                reason: "it is another snapshot".to_owned(),
            });
        }
        volume.half = None;
        volume.snapshots.push((self.to.clone(), content.clone()));
        Ok(snapshot(&self.to, &content))
    }
}
