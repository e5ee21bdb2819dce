//! The contract on the pretend storage, and its faults.

use std::{io, sync::Arc};

use flocker_model::{ByteSize, Epoch, OperationId, Role, SnapshotTag, VolumeId};
use flocker_ports::{
    Attachment, Backend, BackendError, Change, Op, backend_contract,
    contract::backend::{Content, Pair},
};
use futures::StreamExt;

use super::SimBackend;
use crate::faults::{FaultScript, Outcome};

#[derive(Debug)]
struct World {
    source: SimBackend,
    target: SimBackend,
}

impl World {
    fn new() -> Self {
        let node = |name| SimBackend::new(name, ByteSize::gib(1));
        Self { source: node("source"), target: node("target") }
    }

    fn pair(&self) -> Pair<'_> {
        Pair { source: &self.source, target: &self.target, content: self }
    }

    fn of(&self, at: &Attachment) -> &SimBackend {
        if self.source.owns(&at.path) { &self.source } else { &self.target }
    }
}

impl Content for World {
    fn write(&self, at: &Attachment, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.of(at).write_file(at, name, bytes)
    }

    fn read(&self, at: &Attachment, name: &str) -> io::Result<Vec<u8>> {
        Ok(self.of(at).read_file(at, name)?.into())
    }
}

backend_contract!(World::new());

fn op(epoch: u64) -> Op {
    Op { id: OperationId::new("op").unwrap(), epoch: Epoch(epoch) }
}

/// A node with one live volume at epoch 1, behind a script of faults.
async fn faulty() -> (SimBackend, VolumeId, Arc<FaultScript>) {
    let faults = Arc::new(FaultScript::default());
    let backend = SimBackend::new("one", ByteSize::mib(1)).with_faults(faults.clone());
    let volume = VolumeId::new("v").unwrap();
    backend.create(&op(1), &volume, &ByteSize::mib(64).into(), None).await.unwrap();
    (backend, volume, faults)
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_leaves_the_effect_and_a_lost_order_does_not() {
    let (backend, volume, faults) = faulty().await;
    faults.plan("backend.seal", Outcome::FailBefore);
    faults.plan("backend.seal", Outcome::FailAfter);
    let role = async || backend.stat(&volume).await.unwrap().unwrap().role;

    assert!(backend.seal(&op(1), &volume).await.is_err());
    assert_eq!(role().await, Role::Live);
    assert!(backend.seal(&op(1), &volume).await.is_err());
    assert_eq!(role().await, Role::Sealed);
    assert_eq!(backend.seal(&op(1), &volume).await.unwrap(), Change::None);
    assert_eq!(faults.left(), []);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_breaks_ends_with_an_error() {
    let (backend, volume, faults) = faulty().await;
    let at = backend.attach(&op(1), &volume).await.unwrap();
    backend.write_file(&at, "a", &[7; 200_000]).unwrap();
    let tag = flocker_model::SnapshotTag::new("one").unwrap();
    let one = backend
        .snapshot(&op(1), std::slice::from_ref(&volume), &tag)
        .await
        .unwrap()
        .remove(0)
        .point;
    faults.plan("backend.send.chunk", Outcome::Proceed);
    faults.plan("backend.send.chunk", Outcome::FailBefore);

    let chunks: Vec<_> = backend.send(&volume, None, &one, None).await.unwrap().collect().await;

    assert!(
        matches!(chunks.as_slice(), [Ok(_), Err(BackendError::Failed { .. })]),
        "got {chunks:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_full_pool_is_full_for_containers_and_streams() {
    let (backend, volume, _) = faulty().await;
    let at = backend.attach(&op(1), &volume).await.unwrap();
    backend.write_file(&at, "a", &[7; 900_000]).unwrap();
    let tag = flocker_model::SnapshotTag::new("one").unwrap();
    let one = backend
        .snapshot(&op(1), std::slice::from_ref(&volume), &tag)
        .await
        .unwrap()
        .remove(0)
        .point;

    let written = backend.write_file(&at, "b", &[7; 900_000]).unwrap_err();
    let small = SimBackend::new("small", ByteSize(1000));
    let mut receiver =
        small.receive(&op(1), &volume, None, &one, &ByteSize::mib(64).into()).await.unwrap();
    let received = receiver.write(vec![0; 2000].into()).await;

    assert_eq!(written.kind(), io::ErrorKind::StorageFull);
    assert!(matches!(received, Err(BackendError::PoolFull { .. })), "got {received:?}");
}

/// What was attached before a move is not what is there after it.
#[tokio::test(start_paused = true)]
async fn an_old_attachment_does_not_reach_the_new_state() {
    let (backend, volume, _) = faulty().await;
    let old = backend.attach(&op(1), &volume).await.unwrap();
    backend.seal(&op(1), &volume).await.unwrap();
    let tag = flocker_model::SnapshotTag::new("one").unwrap();
    let one = backend
        .snapshot(&op(1), std::slice::from_ref(&volume), &tag)
        .await
        .unwrap()
        .remove(0)
        .point;
    backend.promote(&op(2), &volume, &one).await.unwrap();

    let written = backend.write_file(&old, "a", b"from before").unwrap_err();

    assert_eq!(written.kind(), io::ErrorKind::StaleNetworkFileHandle);
}

/// What was written after the newest snapshot is in no other copy: neither verb throws it away.
#[tokio::test]
async fn a_sealed_copy_with_writes_after_its_newest_snapshot_changes_no_role() {
    let backend = SimBackend::new("one", ByteSize::mib(1));
    let volume = VolumeId::new("v").unwrap();
    backend.create(&op(1), &volume, &ByteSize::mib(64).into(), None).await.unwrap();
    let tag = SnapshotTag::new("t").unwrap();
    let taken = backend.snapshot(&op(1), std::slice::from_ref(&volume), &tag).await.unwrap();
    let at = backend.attach(&op(1), &volume).await.unwrap();
    backend.write_file(&at, "a", b"later").unwrap();
    backend.seal(&op(1), &volume).await.unwrap();

    let promoted = backend.promote(&op(2), &volume, &taken[0].point).await;
    let retired = backend.retire(&op(2), &volume, &taken[0].point).await;

    assert!(matches!(promoted, Err(BackendError::Diverged { .. })), "got {promoted:?}");
    assert!(matches!(retired, Err(BackendError::Diverged { .. })), "got {retired:?}");
    backend.unseal(&op(1), &volume).await.unwrap();
    assert_eq!(backend.read_file(&at, "a").unwrap(), &b"later"[..]);
}
