//! The pretend network: orders and streams from node to node, and the processes at their ends, which can be killed at
//! any of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use flocker_engine::{agent::Agent, follower::Followed, leader::Peers};
use flocker_model::{
    AppName, ByteSize, ContainerName, Epoch, Node, NodeName, Revision, RouteTable, ServiceKey,
    Transfer,
};
use flocker_ports::{
    Backend as _, LogStream, Observation, Op, Order, Peer, PeerError, PeerErrorKind, Progress,
    Replication, ReplicationError, Reply, Routes, SendJob, Step,
};
use futures::StreamExt as _;
use tokio_util::sync::CancellationToken;

use crate::{SimBackend, engine::SimEngine};

/// How long a message takes.
const LATENCY: Duration = Duration::from_micros(200);

/// Who is killed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Victim {
    /// The leader.
    Leader,
    /// A node's agent and proxy; its containers and its storage live on.
    Node(NodeName),
}

/// Kills somebody at a point, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trap {
    /// The step of an order, in the words of [`step_name`], on its way to `at`.
    pub step: String,
    /// Before the node hears of it, or after it did it and before the leader hears that.
    pub after: bool,
    /// Who.
    pub victim: Victim,
}

/// Everything that outlives a process.
#[derive(Debug)]
pub(crate) struct SimNode {
    pub(crate) record: Node,
    pub(crate) backend: SimBackend,
    pub(crate) engine: SimEngine,
    pub(crate) process: Mutex<Option<Process>>,
}

/// A daemon.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    pub(crate) agent: Agent,
    pub(crate) routes: Arc<SimRoutes>,
    pub(crate) killed: CancellationToken,
}

/// All nodes, and the trap that is set.
#[derive(Debug, Clone, Default)]
pub(crate) struct Network {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    nodes: Mutex<BTreeMap<NodeName, Arc<SimNode>>>,
    trap: Mutex<Option<Trap>>,
    leader: Mutex<CancellationToken>,
    /// Every order that arrived, in the order of arrival.
    heard: Mutex<Vec<String>>,
    /// The last order of each kind, by the word for its step.
    last: Mutex<BTreeMap<&'static str, (NodeName, Order)>>,
    /// Every order that a node refused, and why.
    refused: Mutex<Vec<String>>,
    /// Nodes that take everything and answer nothing.
    hung: Mutex<BTreeSet<NodeName>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Network {
    pub(crate) fn add(&self, node: Arc<SimNode>) {
        lock(&self.inner.nodes).insert(node.record.name.clone(), node);
    }

    pub(crate) fn node(&self, name: &NodeName) -> Option<Arc<SimNode>> {
        lock(&self.inner.nodes).get(name).cloned()
    }

    pub(crate) fn nodes(&self) -> Vec<Arc<SimNode>> {
        lock(&self.inner.nodes).values().cloned().collect()
    }

    pub(crate) fn set_trap(&self, trap: Trap) {
        *lock(&self.inner.trap) = Some(trap);
    }

    pub(crate) fn trap_is_set(&self) -> bool {
        lock(&self.inner.trap).is_some()
    }

    pub(crate) fn set_leader(&self, killed: CancellationToken) {
        *lock(&self.inner.leader) = killed;
    }

    pub(crate) fn heard(&self) -> Vec<String> {
        lock(&self.inner.heard).clone()
    }

    pub(crate) fn refused(&self) -> Vec<String> {
        lock(&self.inner.refused).clone()
    }

    /// Delivers the last order with this step once more, as a network does that kept a copy back.
    pub(crate) async fn deliver_again(&self, step: &str) -> Option<Result<Reply, PeerError>> {
        let (node, order) = lock(&self.inner.last).get(step).cloned()?;
        Some(SimPeer { network: self.clone(), node }.perform(order).await)
    }

    pub(crate) fn set_hung(&self, node: &NodeName, hung: bool) {
        let mut all = lock(&self.inner.hung);
        if hung {
            all.insert(node.clone())
        } else {
            all.remove(node)
        };
    }

    pub(crate) fn kill(&self, victim: &Victim) {
        match victim {
            Victim::Leader => lock(&self.inner.leader).cancel(),
            Victim::Node(name) => {
                let process = self.node(name).and_then(|node| lock(&node.process).take());
                if let Some(process) = process {
                    process.killed.cancel();
                    process.agent.halt();
                }
            }
        }
    }

    /// Springs the trap if it is set for this point.
    fn pass(&self, step: &str, after: bool) {
        let sprung = {
            let mut trap = lock(&self.inner.trap);
            match trap.as_ref() {
                Some(set) if set.step == step && set.after == after => trap.take(),
                Some(_) | None => None,
            }
        };
        if let Some(Trap { victim, .. }) = sprung {
            self.kill(&victim);
        }
    }
}

/// The word for a step, by which traps name it.
#[must_use]
pub fn step_name(step: &Step) -> &'static str {
    match step {
        Step::CreateVolumes { .. } => "create-volumes",
        Step::Clone { .. } => "clone",
        Step::Rollback { .. } => "rollback",
        Step::Snapshot { .. } => "snapshot",
        Step::ListSnapshots { .. } => "list-snapshots",
        Step::Send { .. } => "send",
        Step::AbortReceive { .. } => "abort-receive",
        Step::Fetch { .. } => "fetch",
        Step::Prepare { .. } => "prepare",
        Step::Discard => "discard",
        Step::AwaitRoutes { .. } => "await-routes",
        Step::Stop => "stop",
        Step::Seal { .. } => "seal",
        Step::Unseal { .. } => "unseal",
        Step::Promote { .. } => "promote",
        Step::Start { .. } => "start",
        Step::Retire { .. } => "retire",
        Step::Remove => "remove",
        Step::DestroyVolumes { .. } => "destroy-volumes",
        Step::DestroyReplicas { .. } => "destroy-replicas",
        Step::DestroySnapshots { .. } => "destroy-snapshots",
    }
}

impl Peers for Network {
    fn peer(&self, node: &Node) -> Arc<dyn Peer> {
        Arc::new(SimPeer { network: self.clone(), node: node.name.clone() })
    }
}

#[derive(Debug)]
struct SimPeer {
    network: Network,
    node: NodeName,
}

impl SimPeer {
    fn unreachable(&self) -> PeerError {
        let message = "it does not answer".to_owned();
        PeerError { node: self.node.clone(), kind: PeerErrorKind::Unreachable, message }
    }

    async fn call<T, F>(&self, work: impl FnOnce(Agent) -> F) -> Result<T, PeerError>
    where
        F: Future<Output = Result<T, PeerError>>,
    {
        tokio::time::sleep(LATENCY).await;
        if lock(&self.network.inner.hung).contains(&self.node) {
            std::future::pending::<()>().await;
        }
        let process = self.network.node(&self.node).and_then(|node| lock(&node.process).clone());
        let Some(process) = process else { return Err(self.unreachable()) };
        let answer = tokio::select! {
            answer = work(process.agent) => answer,
            () = process.killed.cancelled() => return Err(self.unreachable()),
        };
        tokio::time::sleep(LATENCY).await;
        answer
    }
}

#[async_trait]
impl Peer for SimPeer {
    async fn perform(&self, order: Order) -> Result<Reply, PeerError> {
        let step = step_name(&order.step);
        lock(&self.network.inner.last).insert(step, (self.node.clone(), order.clone()));
        self.network.pass(step, false);
        let reply = self
            .call(async |agent: Agent| {
                lock(&self.network.inner.heard).push(format!("{} {step}", self.node));
                agent.perform(order).await
            })
            .await;
        if let Err(error) = reply.as_ref()
            && error.kind == PeerErrorKind::Refused
        {
            lock(&self.network.inner.refused).push(format!("{step}: {error}"));
        }
        self.network.pass(step, true);
        // Whoever was killed just now neither answers nor hears an answer.
        tokio::task::yield_now().await;
        reply
    }

    async fn observe(&self) -> Result<Observation, PeerError> {
        self.call(async |agent: Agent| agent.observe().await).await
    }

    async fn logs(
        &self,
        app: &AppName,
        container: Option<&ContainerName>,
        follow: bool,
        tail: Option<u32>,
    ) -> Result<LogStream, PeerError> {
        self.call(async |agent: Agent| agent.logs(app, container, follow, tail).await).await
    }
}

/// Streams to other nodes, as a network carries them: at once, and cut when the receiver dies.
#[derive(Debug)]
pub(crate) struct SimReplication {
    pub(crate) network: Network,
    pub(crate) backend: SimBackend,
}

#[async_trait]
impl Replication for SimReplication {
    async fn send(&self, job: &SendJob, progress: &Progress) -> Result<Transfer, ReplicationError> {
        let began = tokio::time::Instant::now();
        let refused = |error: flocker_ports::BackendError| ReplicationError::Refused {
            target: job.target.clone(),
            reason: error.to_string(),
        };
        let target = self.target(job)?;
        let held = target.backend.snapshots(&job.volume).await.unwrap_or_default();
        if held.iter().any(|s| s.point.guid == job.to.guid) {
            return Ok(Transfer::default());
        }
        let op = Op { id: job.operation.clone(), epoch: job.epoch };
        let receiving =
            target.backend.receive(&op, &job.volume, job.base.as_ref(), &job.to, &job.options);
        let mut receiver = receiving.await.map_err(refused)?;
        let resume = receiver.resume_token();
        let mut stream =
            self.backend.send(&job.volume, job.base.as_ref(), &job.to, resume.as_ref()).await?;
        let mut bytes = 0;
        while let Some(chunk) = stream.next().await {
            let chunk = chunk?;
            tokio::time::sleep(LATENCY).await;
            self.target(job)?;
            bytes += chunk.len() as u64;
            progress.add(chunk.len() as u64);
            receiver.write(chunk).await.map_err(refused)?;
        }
        receiver.finish().await.map_err(refused)?;
        Ok(Transfer { bytes: ByteSize(bytes), resumed: ByteSize(0), took: began.elapsed() })
    }
}

impl SimReplication {
    fn target(&self, job: &SendJob) -> Result<Arc<SimNode>, ReplicationError> {
        let alive = self.network.node(&job.target).filter(|node| lock(&node.process).is_some());
        alive.ok_or_else(|| ReplicationError::Unreachable {
            target: job.target.clone(),
            address: job.address,
            reason: "it does not answer".to_owned(),
        })
    }
}

/// A node's pretend proxy.
#[derive(Debug)]
pub(crate) struct SimRoutes {
    pub(crate) followed: Followed,
    pub(crate) served: Mutex<BTreeMap<ServiceKey, (Epoch, SocketAddr)>>,
}

impl SimRoutes {
    pub(crate) fn table(&self) -> RouteTable {
        self.followed.borrow().as_ref().map(|state| state.routes()).unwrap_or_default()
    }

    pub(crate) fn serves(&self, service: &ServiceKey, epoch: Epoch) -> bool {
        lock(&self.served).get(service).is_some_and(|(served, _)| *served == epoch)
    }
}

#[async_trait]
impl Routes for SimRoutes {
    async fn applied(&self, revision: Revision) {
        let mut followed = self.followed.clone();
        let reached = |state: &Option<Arc<flocker_engine::cluster::State>>| {
            state.as_ref().is_some_and(|s| s.revision >= revision)
        };
        let ended = followed.wait_for(reached).await.is_err();
        if ended {
            std::future::pending::<()>().await;
        }
    }

    fn serve(&self, service: &ServiceKey, epoch: Epoch, address: SocketAddr) {
        lock(&self.served).insert(service.clone(), (epoch, address));
    }

    fn withdraw(&self, service: &ServiceKey) {
        lock(&self.served).remove(service);
    }
}
