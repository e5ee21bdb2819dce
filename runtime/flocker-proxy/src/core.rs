//! What all parts of one proxy share: the routes, the services, the limits. Waits for nothing and opens no socket.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::SystemTime,
};

use arc_swap::ArcSwap;
use flocker_model::{NodeName, Revision, Route, RouteTable, ServiceKey, Timestamp};
use tokio::sync::{Semaphore, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::debug;

use crate::{
    limits::Limits,
    service::Service,
    stats::{Counted, Gauge, MeshCounters, Stats},
};

/// What all parts share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) node: NodeName,
    pub(crate) limits: Limits,
    /// One permit per connection.
    pub(crate) connections: Arc<Semaphore>,
    pub(crate) mesh: MeshCounters,
    pub(crate) troubles: Troubles,
    /// The addresses on which services listen.
    pub(crate) addresses: Mutex<BTreeSet<IpAddr>>,
    /// Wakes the listeners: new routes, or a new address.
    pub(crate) listen_again: watch::Sender<()>,
    /// The revision whose ports were opened and closed.
    pub(crate) listened: watch::Sender<Revision>,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
    held: Gauge,
    table: ArcSwap<RouteTable>,
    /// Never shrinks: whoever still holds a service that was removed must hear of it when it is made again.
    services: RwLock<BTreeMap<ServiceKey, Arc<Service>>>,
    publishing: Mutex<()>,
}

/// What an operator should know.
#[derive(Debug, Default)]
pub(crate) struct Troubles {
    /// Ports that could not be opened.
    pub(crate) ports: Mutex<Vec<String>>,
    /// Listeners that cannot accept at the moment.
    pub(crate) accepting: Mutex<BTreeMap<SocketAddr, String>>,
}

/// A poisoned lock means that another task panicked between two plain assignments; the data is good.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Core {
    pub(crate) fn new(node: NodeName, addresses: BTreeSet<IpAddr>, limits: Limits) -> Self {
        let files_max = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let limits = limits.within(files_max.unwrap_or(u64::MAX));
        Self {
            node,
            connections: Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS))),
            limits,
            mesh: MeshCounters::default(),
            troubles: Troubles::default(),
            addresses: Mutex::new(addresses),
            listen_again: watch::Sender::new(()),
            listened: watch::Sender::new(Revision::default()),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            held: Gauge::default(),
            table: ArcSwap::default(),
            services: RwLock::default(),
            publishing: Mutex::new(()),
        }
    }

    pub(crate) fn table(&self) -> arc_swap::Guard<Arc<RouteTable>> {
        self.table.load()
    }

    pub(crate) fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// The service, if it was ever heard of.
    pub(crate) fn service(&self, key: &ServiceKey) -> Option<Arc<Service>> {
        self.services.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// The service, heard of from now on. Only for names from the table and from the agent, never for a stranger's.
    pub(crate) fn introduce(&self, key: &ServiceKey) -> Arc<Service> {
        if let Some(service) = self.service(key) {
            return service;
        }
        let mut services = self.services.write().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Service::new(key.clone(), self.limits.release_batch));
        Arc::clone(services.entry(key.clone()).or_insert_with(new))
    }

    fn all_services(&self) -> Vec<Arc<Service>> {
        self.services.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Follows the table from now on, unless it is older than the one that is followed.
    pub(crate) fn publish(&self, table: RouteTable) {
        let _one_at_a_time = lock(&self.publishing);
        let before = self.table.load_full();
        if table.revision < before.revision {
            debug!(revision = %table.revision, current = %before.revision, "a table of routes came late; ignored");
            return;
        }
        for key in table.services.keys() {
            self.introduce(key);
        }
        let after = Arc::new(table);
        self.table.store(Arc::clone(&after));
        for service in self.all_services() {
            if seen_by(&before, &service.key) != seen_by(&after, &service.key) {
                service.look_again();
            }
        }
        self.listen_again.send_replace(());
    }

    /// A service to which no connection may lead at the moment, although one does still.
    pub(crate) fn inactive_with_flows(&self) -> Option<Arc<Service>> {
        let table = self.table();
        let inactive =
            |service: &Arc<Service>| match table.services.get(&service.key).map(|s| &s.route) {
                Some(Route::Active { .. }) => false,
                Some(Route::Parked { .. } | Route::Down { .. }) | None => true,
            };
        self.all_services().into_iter().find(|service| inactive(service) && service.has_flows())
    }

    /// Room for one more connection to be held, for as long as both parts live.
    pub(crate) fn hold<'a>(&'a self, service: &'a Service) -> Option<(Counted<'a>, Counted<'a>)> {
        let here = service.counters.held.count_below(self.limits.held_per_service)?;
        Some((here, self.held.count_below(self.limits.held_total)?))
    }

    /// Everything that runs comes to its end.
    pub(crate) fn shut_down(&self) {
        self.stop.cancel();
        self.tasks.close();
        for service in self.all_services() {
            service.look_again();
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        let table = self.table();
        let show = |service: Arc<Service>| {
            let route = table.services.get(&service.key).map(|s| s.route.clone());
            (service.key.clone(), service.counters.show(route, service.served()))
        };
        Stats {
            revision: table.revision,
            services: self.all_services().into_iter().map(show).collect(),
            mesh: self.mesh.show(),
        }
    }
}

/// All of the table that a connection to one service depends on.
fn seen_by<'a>(
    table: &'a RouteTable,
    key: &ServiceKey,
) -> Option<(&'a Route, Option<&'a SocketAddr>)> {
    let route = &table.services.get(key)?.route;
    let mesh = match route {
        Route::Active { node, .. } => table.mesh.get(node),
        Route::Parked { .. } | Route::Down { .. } => None,
    };
    Some((route, mesh))
}
