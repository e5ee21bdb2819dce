//! An agent answers over the network as it answers at home.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use flocker_api::{Address, incoming_tcp, server};
use flocker_model::{
    AppName, ByteSize, Capacity, ContainerName, CpuMillis, Epoch, Guid, NodeStats, Point, Revision,
    Role, Snapshot, Timestamp, Transfer, VolumeOptions, VolumeState,
};
use flocker_ports::{
    AttachOrder, ContainerState, EngineError, LogChunk, LogStream, Observation, ObservedApp,
    ObservedContainer, Order, Peer, PeerError, PeerErrorKind, ReplicaSeen, Reply, Sent, Step,
    StoragePlugin, VolumeEpoch, VolumeOrder,
};
use futures::StreamExt;
use tokio::net::TcpListener;

use super::{RemotePeer, agent_server};

/// Keeps what it was told, and answers what it was given.
#[derive(Debug)]
struct Canned {
    orders: Mutex<Vec<Order>>,
    reply: Result<Reply, PeerError>,
    observation: Observation,
}

impl Canned {
    fn new(reply: Result<Reply, PeerError>) -> Arc<Self> {
        Arc::new(Self { orders: Mutex::default(), reply, observation: observation() })
    }
}

#[async_trait]
impl Peer for Canned {
    async fn perform(&self, order: Order) -> Result<Reply, PeerError> {
        self.orders.lock().unwrap().push(order);
        self.reply.clone()
    }

    async fn observe(&self) -> Result<Observation, PeerError> {
        Ok(self.observation.clone())
    }

    async fn logs(
        &self,
        app: &AppName,
        container: Option<&ContainerName>,
        follow: bool,
        tail: Option<u32>,
    ) -> Result<LogStream, PeerError> {
        let text = format!("{app} {container:?} {follow} {tail:?}");
        let chunk = LogChunk {
            container: "db".parse().unwrap(),
            stderr: true,
            bytes: Bytes::from(text.into_bytes()),
        };
        let died = EngineError::Unreachable {
            address: "docker.sock".to_owned(),
            reason: "gone".to_owned(),
        };
        Ok(Box::pin(futures::stream::iter([Ok(chunk), Err(died)])))
    }
}

fn volume() -> VolumeEpoch {
    VolumeEpoch { id: "v-1".parse().unwrap(), epoch: Epoch(7) }
}

fn point() -> Point {
    Point { tag: "m-1".parse().unwrap(), guid: Guid("Ä1".to_owned()) }
}

fn observation() -> Observation {
    let container = |name: &str, state| ObservedContainer {
        name: name.parse().unwrap(),
        state,
        healthy: Some(false),
        restarts: 3,
        restart_at: Some(Timestamp(4)),
    };
    let containers = vec![
        container("a", ContainerState::Created),
        container("b", ContainerState::Gated),
        container("c", ContainerState::Running { since: Timestamp(5) }),
        container(
            "d",
            ContainerState::Exited { status: -1, at: Timestamp(6), out_of_memory: true },
        ),
    ];
    Observation {
        stats: NodeStats {
            memory: Capacity { total: ByteSize(1), free: ByteSize(2) },
            cpu: CpuMillis(4000),
            pool: Capacity { total: ByteSize(3), free: ByteSize(4) },
            streams: "btrfs".to_owned(),
            load_millis: 5,
            at: Timestamp(6),
        },
        volumes: Some(vec![VolumeState {
            id: "v-1".parse().unwrap(),
            role: Role::Sealed,
            epoch: Epoch(2),
            size: ByteSize(8),
            used: ByteSize(9),
        }]),
        written: BTreeMap::from([("v-1".parse().unwrap(), Timestamp(5))]),
        apps: Some(vec![ObservedApp {
            app: "shop".parse().unwrap(),
            epoch: Epoch(3),
            kept: true,
            containers,
        }]),
        sending: vec![("o-1".parse().unwrap(), ByteSize(77))],
        replicas: vec![ReplicaSeen {
            volume: "v-1".parse().unwrap(),
            node: "n2".parse().unwrap(),
            at: Some(point()),
            behind: Some(Duration::from_millis(1500)),
            lacks: Some(ByteSize(4)),
            sending: Some(ByteSize(5)),
            sent: Sent { snapshots: 6, bytes: ByteSize(7), last: Some(Duration::from_millis(8)) },
            trouble: Some("it has diverged".to_owned()),
        }],
        troubles: vec!["the pool is nearly full".to_owned()],
        storage: Some(StoragePlugin {
            name: "dir".to_owned(),
            version: "0.1.0".to_owned(),
            digest: "sha256:00".to_owned(),
            failing: true,
            trouble: Some("trap: unreachable".to_owned()),
            calls: 7,
            failures: 1,
        }),
    }
}

fn steps() -> Vec<Step> {
    let volumes = vec![volume()];
    let options = VolumeOptions {
        reserved: true,
        secret: Some("key".parse().unwrap()),
        ..ByteSize(1 << 30).into()
    };
    vec![
        Step::CreateVolumes {
            volumes: vec![VolumeOrder {
                volume: volume(),
                options: options.clone(),
                owner: Some((999, 998)),
            }],
        },
        Step::Clone { source: volume().id, at: point(), volume: volume() },
        Step::Rollback { volume: volume(), to: point(), kept: volume().id },
        Step::Snapshot { volumes: volumes.clone(), tag: "m-2".parse().unwrap() },
        Step::Send {
            volume: volume(),
            options,
            base: Some(point()),
            to: point(),
            target: "n2".parse().unwrap(),
            address: "10.0.0.2:4523".parse().unwrap(),
        },
        Step::ListSnapshots { volume: volume() },
        Step::Fetch { manifest: "services: {}".to_owned() },
        Step::AbortReceive { volumes: volumes.clone() },
        Step::Prepare { manifest: "services: {}".to_owned() },
        Step::Discard,
        Step::AwaitRoutes { revision: Revision(9) },
        Step::Stop,
        Step::Seal { volumes: volumes.clone() },
        Step::Unseal { volumes: volumes.clone() },
        Step::Promote { volumes: vec![(volume(), point())] },
        Step::Start {
            manifest: "services: {}".to_owned(),
            volumes: vec![AttachOrder { volume: volume(), key: "data".to_owned() }],
        },
        Step::Retire { volumes: vec![(volume(), point())] },
        Step::Remove,
        Step::DestroyVolumes { volumes: volumes.clone() },
        Step::DestroyReplicas { volumes },
        Step::DestroySnapshots { volume: volume(), which: vec![point()] },
    ]
}

fn order(step: Step) -> Order {
    Order {
        operation: "o-1".parse().unwrap(),
        app: "shop".parse().unwrap(),
        epoch: Epoch(u64::MAX),
        revision: Revision(12),
        step,
    }
}

async fn serve(peer: Arc<Canned>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(
        server().add_service(agent_server(peer)).serve_with_incoming(incoming_tcp(listener)),
    );
    address
}

fn remote(address: SocketAddr) -> RemotePeer {
    RemotePeer::new("n1".parse().unwrap(), &Address::Tcp(address)).unwrap()
}

#[tokio::test]
async fn every_step_arrives_as_it_was_ordered() {
    let peer = Canned::new(Ok(Reply::Done));
    let remote = remote(serve(peer.clone()).await);
    let orders: Vec<Order> = steps().into_iter().map(order).collect();

    for order in &orders {
        assert_eq!(remote.perform(order.clone()).await.unwrap(), Reply::Done);
    }

    assert_eq!(*peer.orders.lock().unwrap(), orders);
}

#[tokio::test]
async fn replies_and_errors_arrive_as_they_were_given() {
    let snapshot = Snapshot { point: point(), taken: Timestamp(1), referenced: ByteSize(2) };
    let transfer = Transfer {
        bytes: ByteSize(3),
        resumed: ByteSize(4),
        took: Duration::from_nanos(1_234_567_891),
    };
    for reply in [Reply::Done, Reply::Snapshots(vec![snapshot]), Reply::Sent(transfer)] {
        let remote = remote(serve(Canned::new(Ok(reply.clone()))).await);
        assert_eq!(remote.perform(order(Step::Stop)).await.unwrap(), reply);
    }
    for kind in [PeerErrorKind::Unreachable, PeerErrorKind::Retry, PeerErrorKind::Refused] {
        let message = "pool `ü` is full\nhint: free space on it".to_owned();
        let error = PeerError { node: "n1".parse().unwrap(), kind, message: message.clone() };
        let remote = remote(serve(Canned::new(Err(error))).await);
        let error = remote.perform(order(Step::Stop)).await.unwrap_err();
        assert_eq!((error.kind, error.message), (kind, message));
    }
}

#[tokio::test]
async fn what_is_unknown_arrives_as_unknown() {
    for (volumes, apps) in
        [(None, None), (Some(vec![]), Some(vec![])), (observation().volumes, observation().apps)]
    {
        let seen = Observation { volumes, apps, ..observation() };
        let peer =
            Canned { orders: Mutex::default(), reply: Ok(Reply::Done), observation: seen.clone() };
        let remote = remote(serve(Arc::new(peer)).await);
        assert_eq!(remote.observe().await.unwrap(), seen);
    }
}

#[tokio::test]
async fn logs_arrive_up_to_the_error_that_ends_them() {
    let remote = remote(serve(Canned::new(Ok(Reply::Done))).await);
    let app = "shop".parse().unwrap();
    let container = "db".parse().unwrap();

    let logs = remote.logs(&app, Some(&container), true, Some(5)).await.unwrap();
    let logs: Vec<_> = logs.collect().await;

    assert_eq!(logs.len(), 2);
    assert_eq!(logs[0].as_ref().unwrap().bytes, r#"shop Some("db") true Some(5)"#);
    let error = logs[1].as_ref().unwrap_err().to_string();
    assert!(
        error
            .starts_with("could not read logs of node `n1`: the container engine at `docker.sock`"),
        "{error}"
    );
}

#[tokio::test]
async fn a_node_that_is_off_or_hangs_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hangs = remote(listener.local_addr().unwrap());
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let off = remote(free.local_addr().unwrap());
    drop(free);

    let limit = Duration::from_secs(20);
    // The listener accepts in the kernel and nobody ever reads: only pings can find that out.
    let (hanging, off) = tokio::time::timeout(limit, async {
        tokio::join!(hangs.perform(order(Step::Stop)), off.perform(order(Step::Stop)))
    })
    .await
    .unwrap();

    assert_eq!(hanging.unwrap_err().kind, PeerErrorKind::Unreachable);
    let off = off.unwrap_err();
    assert_eq!(off.kind, PeerErrorKind::Unreachable);
    assert!(off.message.contains("Connection refused"), "{off}");
    assert_eq!(
        tokio::time::timeout(limit, hangs.observe()).await.unwrap().unwrap_err().kind,
        PeerErrorKind::Unreachable
    );
}
