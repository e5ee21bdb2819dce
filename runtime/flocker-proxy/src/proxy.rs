//! The handle of a running proxy.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use flocker_model::{Epoch, NodeName, Revision, RouteTable, ServiceKey};
use tokio::{net::TcpListener, select};

use crate::{
    core::{Core, lock},
    limits::Limits,
    listeners, mesh,
    stats::Stats,
};

/// What a proxy needs to begin.
#[derive(Debug)]
pub struct ProxyConfig {
    /// This node.
    pub node: NodeName,
    /// The addresses on which services without one of their own listen: the node's, its bridge's gateway.
    pub listen: Vec<IpAddr>,
    /// Where other nodes hand over connections. Whoever bound it tells the cluster its address.
    pub mesh: TcpListener,
    /// What it may spend.
    pub limits: Limits,
}

/// A running proxy. Clones are the same proxy; when the last one is dropped it ends as by [`Proxy::stop`].
#[derive(Debug, Clone)]
pub struct Proxy {
    running: Arc<Running>,
}

#[derive(Debug)]
struct Running(Arc<Core>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.shut_down();
    }
}

impl Proxy {
    /// Starts it, with an empty table: no service listens until a table is published. Needs a tokio runtime.
    #[must_use]
    pub fn start(config: ProxyConfig) -> Self {
        let core =
            Arc::new(Core::new(config.node, config.listen.into_iter().collect(), config.limits));
        core.tasks.spawn(listeners::run(Arc::clone(&core)));
        core.tasks.spawn(mesh::run(Arc::clone(&core), config.mesh));
        Self { running: Arc::new(Running(core)) }
    }

    fn core(&self) -> &Arc<Core> {
        &self.running.0
    }

    /// Follows this table from now on. One that is older than the last is ignored.
    ///
    /// Connections look at it at once; ports are opened and closed a moment later, see [`Proxy::applied`].
    pub fn publish(&self, table: RouteTable) {
        self.core().publish(table);
    }

    /// Returns when a table of at least this revision is followed, its ports were opened (or are in
    /// [`Proxy::troubles`]), and no connection leads to the app of a service that is parked, down or gone.
    pub async fn applied(&self, revision: Revision) {
        let mut listened = self.core().listened.subscribe();
        loop {
            // The value is from before we look at the flows; what is published in between wakes us.
            let in_force = *listened.borrow_and_update() >= revision;
            match self.core().inactive_with_flows() {
                None if in_force => return,
                Some(service) if in_force => select! {
                    () = service.without_flows() => {}
                    _ = listened.changed() => {}
                },
                // The sender lives in the core, which we hold.
                Some(_) | None => _ = listened.changed().await,
            }
        }
    }

    /// From now on this node answers for the service, under this epoch, at this address. May come before the table that
    /// says so. An epoch older than the one that is served is ignored; another address cuts what led to the old one.
    pub fn serve(&self, service: &ServiceKey, epoch: Epoch, address: SocketAddr) {
        self.core().introduce(service).serve(epoch, address);
    }

    /// This node no longer answers for the service; what still leads to it, also for other nodes, is cut.
    pub fn withdraw(&self, service: &ServiceKey) {
        if let Some(service) = self.core().service(service) {
            service.withdraw();
        }
    }

    /// Services without an address of their own listen here as well, from now on.
    pub fn listen_on(&self, address: IpAddr) {
        lock(&self.core().addresses).insert(address);
        self.core().listen_again.send_replace(());
    }

    /// What an operator should know and do: ports that cannot be opened, connections that wait for lack of room.
    #[must_use]
    pub fn troubles(&self) -> Vec<String> {
        let mut troubles = lock(&self.core().troubles.ports).clone();
        troubles.extend(lock(&self.core().troubles.accepting).values().cloned());
        troubles
    }

    /// Everything that it counts.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.core().stats()
    }

    /// Closes the ports, quiesces what is relayed, refuses what is held, and returns when all has ended.
    pub async fn stop(&self) {
        self.core().shut_down();
        self.core().tasks.wait().await;
    }
}
