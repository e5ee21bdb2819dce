//! A pretend cluster: a store, a leader, nodes, and a client that writes and remembers what was acknowledged.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use flocker_engine::{
    agent::{Agent, AgentParts, Machine},
    cluster::{Cluster, State},
    control::Control,
    follower,
    leader::{Leader, LeaderParts},
};
use flocker_model::{
    ByteSize, Capacity, CpuMillis, Node, NodeName, NodeStats, Role, Route, ServiceKey, VolumeId,
};
use flocker_planner::{BuiltIn, Policies, plan::Settings};
use flocker_ports::{Attachment, Backend as _, PeerError, Reply, Routes, VerifiedMount};
use tokio_util::sync::CancellationToken;

use crate::{
    SimBackend, SimStore,
    clock::SimClock,
    engine::SimEngine,
    network::{Network, Process, SimNode, SimReplication, SimRoutes, Trap, Victim},
};

/// Every pretend node is as large as this.
#[derive(Debug)]
struct SimMachine;

impl Machine for SimMachine {
    fn stats(&self) -> NodeStats {
        let memory = Capacity { total: ByteSize::gib(8), free: ByteSize::gib(8) };
        NodeStats { memory, cpu: CpuMillis(4000), ..NodeStats::default() }
    }
}

/// A pretend cluster.
#[derive(Debug)]
pub struct World {
    network: Network,
    store: SimStore,
    clock: SimClock,
    policies: Arc<dyn Policies>,
    settings: Settings,
    journals: tempfile::TempDir,
    control: Mutex<Option<Control>>,
}

/// Why a client's write was not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unwritten {
    /// It is held; a real client waits.
    Held,
    /// The way there changed; a real proxy tries again.
    Retry,
    /// There is no such service.
    Refused,
}

impl World {
    /// A cluster of these nodes with the built-in policy, all running. Nothing moves by itself.
    pub fn start(names: &[&str]) -> Self {
        let settings = Settings { cooldown: Duration::from_secs(86_400), ..Settings::default() };
        Self::start_with(names, Arc::new(BuiltIn), settings)
    }

    /// A cluster with a policy.
    pub fn start_with(names: &[&str], policies: Arc<dyn Policies>, settings: Settings) -> Self {
        #[expect(clippy::expect_used, reason = "a test without a temporary folder cannot go on")]
        let journals = tempfile::tempdir().expect("a temporary folder");
        let world = Self {
            network: Network::default(),
            store: SimStore::with_history(1000),
            clock: SimClock::start(),
            policies,
            settings,
            journals,
            control: Mutex::default(),
        };
        for (idx, name) in (1..).zip(names) {
            #[expect(clippy::expect_used, reason = "tests name their nodes")]
            let name = NodeName::new(*name).expect("a node name");
            world.network.add(Arc::new(SimNode {
                record: record(&name, idx),
                backend: SimBackend::new(name.as_str(), ByteSize::gib(1)),
                engine: SimEngine::new(world.clock),
                process: Mutex::default(),
            }));
        }
        world
    }

    /// Starts all nodes and the leader.
    ///
    /// # Errors
    /// When a journal or the store cannot be used.
    pub async fn boot(&self) -> Result<(), String> {
        let cluster = self.cluster();
        for node in self.network.nodes() {
            let changes = cluster.change().put(&node.record);
            cluster.commit(changes).await.map_err(|e| e.to_string())?;
            self.start_node(&node.record.name)?;
        }
        self.start_leader();
        Ok(())
    }

    /// Starts a node's daemon, which goes on where its journal ends.
    ///
    /// # Errors
    /// When its journal cannot be read.
    pub fn start_node(&self, name: &NodeName) -> Result<(), String> {
        let node = self.network.node(name).ok_or("no such node")?;
        let killed = CancellationToken::new();
        let cluster = self.cluster();
        let followed = follower::follow(cluster, killed.clone());
        let routes = Arc::new(SimRoutes { followed, served: Mutex::default() });
        let agent_routes: Arc<dyn Routes> = routes.clone();
        let parts = AgentParts {
            node: name.clone(),
            backend: Arc::new(node.backend.clone()),
            engine: Arc::new(node.engine.clone()),
            replication: Arc::new(SimReplication {
                network: self.network.clone(),
                backend: node.backend.clone(),
            }),
            routes: agent_routes,
            clock: Arc::new(self.clock),
            machine: Arc::new(SimMachine),
        };
        let agent = Agent::open(parts, &self.journals.path().join(name.as_str()))
            .map_err(|e| e.to_string())?;
        let (replicating, stop) = (agent.clone(), killed.clone());
        let (records, peers) =
            (follower::follow(self.cluster(), killed.clone()), self.network.clone());
        tokio::spawn(async move { replicating.replicate(records, Arc::new(peers), stop).await });
        let (supervised, stop) = (agent.clone(), killed.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = supervised.supervise(CancellationToken::new()) => {}
            }
        });
        let process = Process { agent, routes, killed };
        *node.process.lock().unwrap_or_else(PoisonError::into_inner) = Some(process);
        Ok(())
    }

    /// Starts a leader; the one before must be dead.
    pub fn start_leader(&self) {
        let killed = CancellationToken::new();
        let cluster = self.cluster();
        let leader = Leader::new(LeaderParts {
            followed: follower::follow(cluster.clone(), killed.clone()),
            cluster,
            peers: Arc::new(self.network.clone()),
            policies: self.policies.clone(),
            clock: Arc::new(self.clock),
            settings: self.settings.clone(),
            rebalance_every: Duration::from_secs(5),
        });
        self.network.set_leader(killed.clone());
        *self.control.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Control::new(leader.clone()));
        // Dropped at any await: what a SIGKILL does to it. Its operations run in tasks of their own, which end with
        // the token that they are given.
        tokio::spawn(async move { leader.lead(killed).await });
    }

    /// What operators can ask for.
    ///
    /// # Panics
    /// Before [`World::boot`].
    #[must_use]
    pub fn control(&self) -> Control {
        #[expect(clippy::expect_used, reason = "a test that asks before it booted is wrong")]
        self.control
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
            .expect("the world was booted")
    }

    /// Kills somebody at a point.
    pub fn set_trap(&self, trap: Trap) {
        self.network.set_trap(trap);
    }

    /// Whether the trap did not spring yet.
    #[must_use]
    pub fn trap_is_set(&self) -> bool {
        self.network.trap_is_set()
    }

    /// Kills somebody now.
    pub fn kill(&self, victim: &Victim) {
        self.network.kill(victim);
    }

    /// Starts again who was killed.
    ///
    /// # Errors
    /// When a journal cannot be read.
    pub fn revive(&self, victim: &Victim) -> Result<(), String> {
        match victim {
            Victim::Leader => {
                self.start_leader();
                Ok(())
            }
            Victim::Node(name) => self.start_node(name),
        }
    }

    /// Every order that reached a node so far.
    #[must_use]
    pub fn heard(&self) -> Vec<String> {
        self.network.heard()
    }

    /// Every order that a node refused so far, and why.
    #[must_use]
    pub fn refused(&self) -> Vec<String> {
        self.network.refused()
    }

    /// Delivers the last order with this step once more, in the words of [`crate::step_name`], as a network does that kept
    /// a copy back. `None`: there was none.
    pub async fn deliver_again(&self, step: &str) -> Option<Result<Reply, PeerError>> {
        self.network.deliver_again(step).await
    }

    /// Loses a node's journal, as with a new disk for everything but the pool. The node must be dead.
    ///
    /// # Errors
    /// When there is none.
    pub fn lose_journal(&self, name: &NodeName) -> Result<(), String> {
        std::fs::remove_file(self.journals.path().join(name.as_str())).map_err(|e| e.to_string())
    }

    /// Lets a node take every message and answer none, or no longer.
    pub fn set_hung(&self, node: &NodeName, hung: bool) {
        self.network.set_hung(node, hung);
    }

    /// A node's storage.
    #[must_use]
    pub fn backend(&self, name: &NodeName) -> Option<SimBackend> {
        self.network.node(name).map(|node| node.backend.clone())
    }

    /// A node's container engine.
    #[must_use]
    pub fn engine(&self, name: &NodeName) -> Option<SimEngine> {
        self.network.node(name).map(|node| node.engine.clone())
    }

    /// The records, to be changed behind everybody's back.
    #[must_use]
    pub fn cluster(&self) -> Cluster {
        Cluster::new(Arc::new(self.store.clone()))
    }

    /// The records as they are.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn state(&self) -> Result<State, String> {
        self.cluster().read().await.map_err(|e| e.to_string())
    }

    /// A client writes one file through a node's proxy.
    ///
    /// # Errors
    /// When it was not acknowledged.
    pub fn write(
        &self,
        via: &NodeName,
        service: &ServiceKey,
        name: &str,
        bytes: &[u8],
    ) -> Result<(), Unwritten> {
        let (node, mount) = self.lead(via, service)?;
        node.backend.write_file(&attachment(&mount), name, bytes).map_err(|_| Unwritten::Retry)
    }

    /// A client reads one file through a node's proxy; `None`: it is not there.
    ///
    /// # Errors
    /// When there was no answer.
    pub fn read(
        &self,
        via: &NodeName,
        service: &ServiceKey,
        name: &str,
    ) -> Result<Option<Vec<u8>>, Unwritten> {
        let (node, mount) = self.lead(via, service)?;
        Ok(node.backend.read_file(&attachment(&mount), name).ok().map(|bytes| bytes.to_vec()))
    }

    /// Where a connection ends: the node, and the volume of the process that answers.
    fn lead(
        &self,
        via: &NodeName,
        service: &ServiceKey,
    ) -> Result<(Arc<SimNode>, VerifiedMount), Unwritten> {
        let process =
            |node: &SimNode| node.process.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let ingress =
            self.network.node(via).and_then(|node| process(&node)).ok_or(Unwritten::Retry)?;
        let table = ingress.routes.table();
        let route = table.services.get(service).ok_or(Unwritten::Refused)?;
        let (owner, epoch) = match &route.route {
            Route::Active { node, epoch } => (node, *epoch),
            Route::Parked { .. } => return Err(Unwritten::Held),
            Route::Down { .. } => return Err(Unwritten::Refused),
        };
        let node = self.network.node(owner).ok_or(Unwritten::Retry)?;
        let answers = process(&node).is_some_and(|p| p.routes.serves(service, epoch));
        if !answers {
            return Err(Unwritten::Retry);
        }
        // The first port of a container is named like the container.
        let mut all = node.engine.running().into_iter().filter(|(c, _)| c.app == service.app);
        let running = all.find(|(c, _)| c.name.as_str() == service.service.as_str());
        let (_, mounts) = running.ok_or(Unwritten::Retry)?;
        let mount = mounts.into_iter().next().ok_or(Unwritten::Refused)?;
        Ok((node, mount))
    }

    /// The nodes on which the volume is live, and those on which a process of the app runs.
    ///
    /// # Errors
    /// When a pretend backend fails.
    pub async fn writers(
        &self,
        volume: &VolumeId,
    ) -> Result<BTreeMap<NodeName, (bool, usize)>, String> {
        let mut writers = BTreeMap::new();
        for node in self.network.nodes() {
            let state = node.backend.stat(volume).await.map_err(|e| e.to_string())?;
            let live = state.is_some_and(|s| s.role == Role::Live);
            writers.insert(node.record.name.clone(), (live, node.engine.running().len()));
        }
        Ok(writers)
    }
}

fn attachment(mount: &VerifiedMount) -> Attachment {
    Attachment { path: mount.source.clone(), device: mount.device, inode: mount.inode }
}

fn record(name: &NodeName, idx: u8) -> Node {
    let at = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 9, 0, idx)), port);
    Node {
        name: name.clone(),
        api: at(1),
        mesh: at(2),
        replication: at(3),
        labels: BTreeMap::new(),
        configured: BTreeSet::new(),
        draining: false,
        identity: name.to_string(),
        stream_key: None,
    }
}
