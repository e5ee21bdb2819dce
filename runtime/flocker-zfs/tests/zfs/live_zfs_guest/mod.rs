//! The contract on two pools, and what is particular to ZFS.

mod calls;
mod clones;
mod crash;
mod differential;
mod encrypted;
mod faults;
mod foreign;
mod in_file;
mod pool;
mod rollbacks;
mod room;
mod streams;
mod ticks;

use std::fs;

use bytes::Bytes;
use flocker_model::{ByteSize, Epoch, OperationId, Point, SnapshotTag, VolumeId};
use flocker_ports::{
    Backend, BackendError, Op, Receiver, ResumeToken,
    contract::backend::{Pair, RealFiles},
};
use flocker_zfs::ZfsBackend;
use futures::StreamExt;

use pool::TestPool;

flocker_ports::backend_contract!(World::new().await);

const ONE: Epoch = Epoch(1);
const TWO: Epoch = Epoch(2);
const SIZE: ByteSize = ByteSize::mib(64);

/// Two nodes' pools.
#[derive(Debug)]
struct World {
    source: TestPool,
    target: TestPool,
}

impl World {
    async fn new() -> Self {
        Self { source: TestPool::new().await, target: TestPool::new().await }
    }

    fn pair(&self) -> Pair<'_> {
        Pair { source: self.source.backend(), target: self.target.backend(), content: &RealFiles }
    }
}

fn op(epoch: Epoch) -> Op {
    Op { id: OperationId::new("test").unwrap(), epoch }
}

fn tag(name: &str) -> SnapshotTag {
    SnapshotTag::new(name).unwrap()
}

fn volume(name: &str) -> VolumeId {
    VolumeId::new(name).unwrap()
}

/// Bytes that no filesystem makes smaller.
fn noise(n: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(n + 8);
    while bytes.len() < n {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(n);
    bytes
}

async fn write(on: &ZfsBackend, volume: &VolumeId, epoch: Epoch, name: &str, bytes: &[u8]) {
    let at = on.attach(&op(epoch), volume).await.unwrap();
    fs::write(at.path.join(name), bytes).unwrap();
}

async fn snap(on: &ZfsBackend, volume: &VolumeId, epoch: Epoch, name: &str) -> Point {
    let only = std::slice::from_ref(volume);
    on.snapshot(&op(epoch), only, &tag(name)).await.unwrap().remove(0).point
}

async fn stream(
    on: &ZfsBackend,
    volume: &VolumeId,
    base: Option<&Point>,
    to: &Point,
    resume: Option<&ResumeToken>,
) -> Vec<u8> {
    let mut chunks = on.send(volume, base, to, resume).await.unwrap();
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.next().await {
        bytes.extend_from_slice(&chunk.unwrap());
    }
    bytes
}

async fn feed(receiver: &mut dyn Receiver, bytes: &[u8]) -> Result<(), BackendError> {
    for piece in bytes.chunks(200_003) {
        receiver.write(Bytes::copy_from_slice(piece)).await?;
    }
    Ok(())
}

/// Sends a snapshot from one pool to another.
async fn copy(
    world: &World,
    volume: &VolumeId,
    base: Option<&Point>,
    to: &Point,
    epoch: Epoch,
) -> Result<(), BackendError> {
    let (source, target) = (world.source.backend(), world.target.backend());
    let mut receiver = target.receive(&op(epoch), volume, base, to, &SIZE.into()).await?;
    let whole = stream(source, volume, base, to, None).await;
    feed(receiver.as_mut(), &whole).await?;
    receiver.finish().await.map(drop)
}

async fn points(on: &ZfsBackend, volume: &VolumeId) -> Vec<Point> {
    on.snapshots(volume).await.unwrap().into_iter().map(|snapshot| snapshot.point).collect()
}
