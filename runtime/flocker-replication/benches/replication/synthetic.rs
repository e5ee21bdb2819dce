//! A storage that sends bytes that do not compress and throws away what it receives, as fast as it can.

use async_trait::async_trait;
use bytes::Bytes;
use flocker_model::{
    ByteSize, Capacity, Guid, Point, Snapshot, SnapshotTag, Timestamp, VolumeId, VolumeOptions,
    VolumeState,
};
use flocker_ports::{
    Attachment, Backend, BackendError, ByteStream, Change, Description, Op, Receiver, ResumeToken,
};
use futures::{StreamExt as _, stream};

/// As much as one read of a pipe brings.
const PIECE: usize = 256 * 1024;

#[derive(Debug)]
pub(crate) struct Synthetic {
    bytes: u64,
    piece: Bytes,
}

impl Synthetic {
    pub(crate) fn new(bytes: u64) -> Self {
        let mut piece = vec![0; PIECE];
        blake3::Hasher::new().finalize_xof().fill(&mut piece);
        Self { bytes, piece: piece.into() }
    }

    /// A snapshot that nobody has yet.
    pub(crate) fn point(number: usize) -> Point {
        let tag = SnapshotTag::new(format!("s{number}")).unwrap();
        Point { guid: Guid(format!("guid-{number}")), tag }
    }
}

#[derive(Debug)]
struct Sink(Point);

#[async_trait]
impl Receiver for Sink {
    fn resume_token(&self) -> Option<ResumeToken> {
        None
    }

    async fn write(&mut self, _: Bytes) -> Result<(), BackendError> {
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<Snapshot, BackendError> {
        Ok(Snapshot { point: self.0, taken: Timestamp(0), referenced: ByteSize(0) })
    }
}

/// Nobody asks for it here.
fn unused<T>() -> Result<T, BackendError> {
    Err(BackendError::Failed { action: "a benchmark".to_owned(), reason: "unused".to_owned() })
}

#[async_trait]
impl Backend for Synthetic {
    fn describe(&self) -> Description {
        let (driver, streams) = ("synthetic".to_owned(), "synthetic".to_owned());
        Description { driver, pool: String::new(), streams, features: vec![] }
    }

    async fn capacity(&self) -> Result<Capacity, BackendError> {
        unused()
    }

    async fn volumes(&self) -> Result<Vec<VolumeState>, BackendError> {
        unused()
    }

    async fn stat(&self, _: &VolumeId) -> Result<Option<VolumeState>, BackendError> {
        Ok(None)
    }

    async fn create(
        &self,
        _: &Op,
        _: &VolumeId,
        _: &VolumeOptions,
        _: Option<(u32, u32)>,
    ) -> Result<Change, BackendError> {
        unused()
    }

    async fn resize(&self, _: &Op, _: &VolumeId, _: ByteSize) -> Result<Change, BackendError> {
        unused()
    }

    async fn destroy(&self, _: &Op, _: &VolumeId) -> Result<Change, BackendError> {
        unused()
    }

    async fn snapshot(
        &self,
        _: &Op,
        _: &[VolumeId],
        _: &SnapshotTag,
    ) -> Result<Vec<Snapshot>, BackendError> {
        unused()
    }

    async fn snapshots(&self, _: &VolumeId) -> Result<Vec<Snapshot>, BackendError> {
        Ok(vec![])
    }

    async fn destroy_snapshots(
        &self,
        _: &Op,
        _: &VolumeId,
        _: &[Point],
    ) -> Result<Change, BackendError> {
        unused()
    }

    async fn attach(&self, _: &Op, _: &VolumeId) -> Result<Attachment, BackendError> {
        unused()
    }

    async fn seal(&self, _: &Op, _: &VolumeId) -> Result<Change, BackendError> {
        unused()
    }

    async fn unseal(&self, _: &Op, _: &VolumeId) -> Result<Change, BackendError> {
        unused()
    }

    async fn promote(&self, _: &Op, _: &VolumeId, _: &Point) -> Result<Change, BackendError> {
        unused()
    }

    async fn retire(&self, _: &Op, _: &VolumeId, _: &Point) -> Result<Change, BackendError> {
        unused()
    }

    async fn send(
        &self,
        _: &VolumeId,
        _: Option<&Point>,
        _: &Point,
        _: Option<&ResumeToken>,
    ) -> Result<ByteStream, BackendError> {
        let (pieces, piece) = (self.bytes / PIECE as u64, self.piece.clone());
        Ok(stream::iter((0..pieces).map(move |_| Ok(piece.clone()))).boxed())
    }

    async fn receive(
        &self,
        _: &Op,
        _: &VolumeId,
        _: Option<&Point>,
        to: &Point,
        _: &VolumeOptions,
    ) -> Result<Box<dyn Receiver>, BackendError> {
        Ok(Box::new(Sink(to.clone())))
    }

    async fn abort_receive(&self, _: &Op, _: &VolumeId) -> Result<Change, BackendError> {
        unused()
    }
}
