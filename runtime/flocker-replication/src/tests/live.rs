//! Streams between two real btrfs pools. They need root, loop devices and btrfs, and leave nothing behind.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use flocker_btrfs::{BtrfsBackend, OpenError, PoolConfig};
use flocker_model::{
    ByteSize, Epoch, NodeName, OperationId, Point, Rates, SnapshotTag, Transfer, VolumeId,
};
use flocker_ports::{Backend, Op, Progress, Replication, ReplicationError, SendJob};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{
    relay::{Harm, Relay, relay},
    tls::transport,
};
use crate::{Receiving, ReceivingConfig, Sender, SenderConfig};

const DEADLINE: Duration = Duration::from_secs(60);
const MIB: usize = 1 << 20;

/// A node with a pool in a temporary folder, unmounted and removed at the end, also of a test that fails.
struct Node {
    folder: tempfile::TempDir,
    backend: Option<Arc<BtrfsBackend>>,
    serving: Option<JoinHandle<()>>,
}

impl Node {
    async fn new() -> Self {
        let mut node = Self { folder: tempfile::tempdir().unwrap(), backend: None, serving: None };
        node.open().await;
        node
    }

    /// Opens the pool. One whose program was killed a moment ago may be in use a moment longer.
    async fn open(&mut self) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let config = PoolConfig::File {
                state_dir: self.folder.path().join("state"),
                path: self.folder.path().join("pool.img"),
                size: ByteSize::mib(512),
            };
            match BtrfsBackend::open(config).await {
                Ok(backend) => {
                    self.backend = Some(Arc::new(backend));
                    return;
                }
                Err(e @ OpenError::NotRoot) => panic!("{e}"),
                Err(e) => assert!(Instant::now() < deadline, "{e}"),
            }
            tokio::task::yield_now().await;
        }
    }

    /// What SIGKILL leaves: nobody at home, everything mounted.
    async fn kill(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
            let _ = serving.await;
        }
        self.backend = None;
    }

    fn backend(&self) -> Arc<BtrfsBackend> {
        self.backend.clone().unwrap()
    }

    async fn serve(&mut self, harms: Vec<Harm>) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let config = ReceivingConfig::new(NodeName::new("n2").unwrap());
        let (stop, transport) = (CancellationToken::new(), transport("n2"));
        let serving = Receiving::serve(listener, self.backend(), transport, config, stop);
        self.serving = Some(tokio::spawn(serving));
        relay(address, harms).await
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
        }
        self.backend = None;
        let pool: PathBuf = self.folder.path().join("state/pool");
        let deadline = Instant::now() + Duration::from_secs(10);
        // A killed `btrfs receive` may need a moment to let go.
        while !Command::new("umount").arg(&pool).output().unwrap().status.success() {
            if Instant::now() > deadline {
                let _ = Command::new("umount").arg("-l").arg(&pool).output();
                return;
            }
            std::thread::yield_now();
        }
    }
}

fn op(epoch: u64) -> Op {
    Op { id: OperationId::new("op-1").unwrap(), epoch: Epoch(epoch) }
}

fn volume() -> VolumeId {
    VolumeId::new("v-1").unwrap()
}

/// Bytes that neither repeat nor compress.
fn content(seed: u8, length: usize) -> Vec<u8> {
    let mut out = vec![0; length];
    blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut out);
    out
}

/// Writes a file into the source's live volume and takes a snapshot.
async fn snapshot(node: &Node, file: &str, bytes: &[u8], tag: &str) -> Point {
    let backend = node.backend();
    let at = backend.attach(&op(1), &volume()).await.unwrap();
    fs::write(at.path.join(file), bytes).unwrap();
    let tag = SnapshotTag::new(tag).unwrap();
    let mut taken = backend.snapshot(&op(1), &[volume()], &tag).await.unwrap();
    taken.remove(0).point
}

async fn source() -> Node {
    let node = Node::new().await;
    node.backend().create(&op(1), &volume(), &ByteSize::mib(256).into(), None).await.unwrap();
    node
}

fn job(base: Option<&Point>, to: &Point, relay: &Relay) -> SendJob {
    SendJob {
        operation: op(1).id,
        volume: volume(),
        epoch: Epoch(1),
        base: base.cloned(),
        to: to.clone(),
        options: ByteSize::mib(256).into(),
        source: NodeName::new("n1").unwrap(),
        target: NodeName::new("n2").unwrap(),
        address: relay.address,
        rates: Rates::default(),
    }
}

async fn send(node: &Node, job: &SendJob, attempts: u32) -> Result<Transfer, ReplicationError> {
    let config = SenderConfig { attempts, ..SenderConfig::default() };
    Sender::new(node.backend(), transport("n1"), config).send(job, &Progress::default()).await
}

/// The target becomes the owner; what its containers would find.
async fn found(node: &Node, at: &Point, file: &str) -> Vec<u8> {
    let backend = node.backend();
    backend.promote(&op(2), &volume(), at).await.unwrap();
    let attached = backend.attach(&op(2), &volume()).await.unwrap();
    fs::read(attached.path.join(file)).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_stream_and_an_increment_arrive_on_another_pool() {
    let (source, mut target) = (source().await, Node::new().await);
    let relay = target.serve(Vec::new()).await;
    let one = snapshot(&source, "big", &content(1, 8 * MIB), "one").await;
    let two = snapshot(&source, "small", &content(2, MIB), "two").await;

    let full = send(&source, &job(None, &one, &relay), 1).await.unwrap();
    let increment = send(&source, &job(Some(&one), &two, &relay), 1).await.unwrap();
    let again = send(&source, &job(Some(&one), &two, &relay), 1).await.unwrap();

    eprintln!("full {full:?}\nincrement {increment:?}\nagain {again:?}");
    assert!(full.bytes.0 > 8 * MIB as u64 && increment.bytes.0 < 2 * MIB as u64);
    assert_eq!(again.bytes, ByteSize(0));
    assert_eq!(found(&target, &two, "small").await, content(2, MIB));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_stream_goes_on_within_the_call() {
    let (source, mut target) = (source().await, Node::new().await);
    let harms = vec![
        Harm::Cut { after: 5 * MIB },
        Harm::Flip { at: 3 * MIB },
        Harm::Cut { after: 2 * MIB },
    ];
    let relay = target.serve(harms).await;
    let one = snapshot(&source, "big", &content(1, 24 * MIB), "one").await;

    let sent = send(&source, &job(None, &one, &relay), 5).await.unwrap();

    eprintln!("{sent:?} in {} connections", relay.n_connections());
    // Each harm costs what was on its way: in the kernels' buffers, in the relay, and one chunk.
    assert!(sent.bytes.0 < 24 * MIB as u64 + 3 * 8 * MIB as u64, "{sent:?}");
    assert_eq!(found(&target, &one, "big").await, content(1, 24 * MIB));
}

/// Given a receiver that is killed in the middle, the next one goes on from what the first had made durable.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_receiver_goes_on_after_its_restart() {
    let (source, mut target) = (source().await, Node::new().await);
    let relay = target.serve(vec![Harm::Cut { after: 16 * MIB }]).await;
    let one = snapshot(&source, "big", &content(1, 24 * MIB), "one").await;
    let cut = send(&source, &job(None, &one, &relay), 1).await;
    target.kill().await;
    drop(relay);
    target.open().await;
    let relay = target.serve(Vec::new()).await;

    let rest = send(&source, &job(None, &one, &relay), 1).await.unwrap();

    eprintln!("{rest:?}");
    assert!(matches!(cut, Err(ReplicationError::Unreachable { .. })), "{cut:?}");
    assert!(rest.bytes.0 < 20 * MIB as u64, "it began again: {rest:?}");
    assert_eq!(found(&target, &one, "big").await, content(1, 24 * MIB));
}
