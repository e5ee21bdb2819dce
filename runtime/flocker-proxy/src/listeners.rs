//! Opens and closes ports as the routes say, and accepts connections as fast as there is room for them.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use flocker_model::{RouteTable, ServiceKey};
use tokio::{
    net::{TcpListener, TcpStream},
    select,
    sync::OwnedSemaphorePermit,
    task::JoinHandle,
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::{
    core::{Core, lock},
    ingress::Visit,
    service::Service,
    socket,
};

/// An open port.
struct Port {
    service: ServiceKey,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// Keeps the open ports equal to the routes until the proxy is stopped.
pub(crate) async fn run(core: Arc<Core>) {
    let mut ports = BTreeMap::new();
    let mut again = core.listen_again.subscribe();
    loop {
        again.mark_unchanged();
        let table = Arc::clone(&core.table());
        let addresses = lock(&core.addresses).clone();
        let troubles = reconcile(&core, &mut ports, claims(&table, &addresses)).await;
        let retry = !troubles.is_empty();
        tell(&core, troubles);
        core.listened.send_replace(table.revision);
        select! {
            _ = again.changed() => {}
            () = sleep(core.limits.relisten), if retry => {}
            () = core.stop.cancelled() => break,
        }
    }
}

/// Which services want which port. More than one is a mistake in their manifests.
fn claims(
    table: &RouteTable,
    addresses: &BTreeSet<IpAddr>,
) -> BTreeMap<SocketAddr, Vec<ServiceKey>> {
    let mut claims: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (key, service) in &table.services {
        let own = service.host_ip.is_none().then_some(addresses);
        for ip in service.host_ip.iter().chain(own.into_iter().flatten()) {
            claims.entry(SocketAddr::new(*ip, service.port)).or_default().push(key.clone());
        }
    }
    claims
}

/// Closes first, so that a port that changes hands is free; then opens. Says what could not be opened.
async fn reconcile(
    core: &Arc<Core>,
    ports: &mut BTreeMap<SocketAddr, Port>,
    claims: BTreeMap<SocketAddr, Vec<ServiceKey>>,
) -> Vec<String> {
    let wanted = |address: &SocketAddr, port: &Port| {
        claims.get(address).is_some_and(|claimants| claimants.contains(&port.service))
    };
    let closed: Vec<_> = ports.extract_if(.., |address, port| !wanted(address, port)).collect();
    for (address, port) in closed {
        info!(service = %port.service, %address, "port closed");
        port.stop.cancel();
        // It can only fail by a panic of the task, and then the port is closed as well.
        let _ = port.task.await;
    }
    let mut troubles = Vec::new();
    for (address, claimants) in claims {
        // Whoever has the port keeps it: a new app must not take a running one's.
        let holder = ports
            .get(&address)
            .map(|port| port.service.clone())
            .or_else(|| claimants.first().cloned());
        let Some(holder) = holder else { continue };
        for other in claimants.iter().filter(|claimant| **claimant != holder) {
            troubles.push(format!(
                "service `{other}` has no port {address}: service `{holder}` has it\nhint: publish one of the two on another port"
            ));
        }
        if let Entry::Vacant(vacant) = ports.entry(address) {
            match open(core, address, &holder) {
                Ok(port) => _ = vacant.insert(port),
                Err(error) => troubles.push(not_open(&holder, address, &error)),
            }
        }
    }
    troubles
}

fn open(core: &Arc<Core>, address: SocketAddr, key: &ServiceKey) -> io::Result<Port> {
    let listener = socket::listen(address, core.limits.backlog)?;
    info!(service = %key, %address, "port open");
    let stop = core.stop.child_token();
    let task = serve(Arc::clone(core), core.introduce(key), listener, stop.clone());
    Ok(Port { service: key.clone(), stop, task: core.tasks.spawn(task) })
}

fn not_open(service: &ServiceKey, address: SocketAddr, error: &io::Error) -> String {
    let (ip, port) = (address.ip(), address.port());
    let hint = if error.kind() == io::ErrorKind::AddrInUse {
        format!("`ss -ltnp 'sport = :{port}'` shows who has it; it is tried again until it is free")
    } else if error.kind() == io::ErrorKind::AddrNotAvailable {
        format!("this node has no address {ip}, see `ip address`; it is tried again until it has")
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        "ports below 1024 need root or CAP_NET_BIND_SERVICE".to_owned()
    } else {
        "it is tried again".to_owned()
    };
    format!("service `{service}` does not listen on {address}: {error}\nhint: {hint}")
}

/// Replaces what is known to be wrong; what is new goes to the log as well.
fn tell(core: &Core, troubles: Vec<String>) {
    let mut known = lock(&core.troubles.ports);
    for new in troubles.iter().filter(|trouble| !known.contains(trouble)) {
        warn!("{new}");
    }
    *known = troubles;
}

async fn serve(
    core: Arc<Core>,
    service: Arc<Service>,
    listener: TcpListener,
    stop: CancellationToken,
) {
    let mut gate = Gate::new(&core, &listener);
    loop {
        let accepted = select! {
            accepted = gate.accept() => accepted,
            () = stop.cancelled() => return,
        };
        let Some((stream, peer, permit)) = accepted else { continue };
        match Visit::new(Arc::clone(&core), Arc::clone(&service), stream, permit) {
            Ok(visit) => _ = core.tasks.spawn(visit.run()),
            Err(error) => {
                debug!(service = %service.key, %peer, %error, "the client left before it was served")
            }
        }
    }
}

/// Accepts from one listener, when there is room.
#[derive(Debug)]
pub(crate) struct Gate<'a> {
    core: &'a Core,
    listener: &'a TcpListener,
    address: Option<SocketAddr>,
    strained: bool,
}

impl<'a> Gate<'a> {
    pub(crate) fn new(core: &'a Core, listener: &'a TcpListener) -> Self {
        Self { core, listener, address: listener.local_addr().ok(), strained: false }
    }

    /// The next connection; `None` when it was none after all. While there is no room, it and those after it wait.
    pub(crate) async fn accept(&mut self) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
        match self.listener.accept().await {
            Ok((stream, peer)) => {
                let permit = self.room().await?;
                self.relieve();
                Some((stream, peer, permit))
            }
            Err(error) if is_of_the_connection(&error) => None,
            Err(error) => {
                self.strain(format!("accepting connections fails: {error}"));
                sleep(self.core.limits.accept_pause).await;
                None
            }
        }
    }

    /// Only a stopped proxy closes the semaphore, and then the task is ended anyway.
    async fn room(&mut self) -> Option<OwnedSemaphorePermit> {
        let connections = Arc::clone(&self.core.connections);
        if let Ok(permit) = Arc::clone(&connections).try_acquire_owned() {
            return Some(permit);
        }
        self.strain(format!(
            "all {} connections that this proxy may have are in use",
            self.core.limits.connections
        ));
        connections.acquire_owned().await.ok()
    }

    fn strain(&mut self, trouble: String) {
        let Some(address) = self.address else { return };
        let trouble = format!(
            "connections to {address} wait: {trouble}\nhint: raise the limit of open files (`LimitNOFILE=` of the service, `ulimit -n` in a shell)"
        );
        if !self.strained {
            warn!("{trouble}");
        }
        self.strained = true;
        lock(&self.core.troubles.accepting).insert(address, trouble);
    }

    fn relieve(&mut self) {
        if std::mem::take(&mut self.strained)
            && let Some(address) = self.address
        {
            lock(&self.core.troubles.accepting).remove(&address);
        }
    }
}

impl Drop for Gate<'_> {
    fn drop(&mut self) {
        self.relieve();
    }
}

/// The kernel reports what happened to the connection that was to be accepted; the listener itself is well.
fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionReset, HostUnreachable, NetworkDown, NetworkUnreachable,
    };
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | HostUnreachable | NetworkDown | NetworkUnreachable
    )
}
