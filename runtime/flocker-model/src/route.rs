//! Where clients are led: one route per published port, the same table on every node.

use std::{collections::BTreeMap, fmt, net::IpAddr};

use crate::{AppName, Epoch, NodeName, OperationId, Revision, ServiceName, Timestamp};

/// A service in the cluster: app and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey {
    /// The app.
    pub app: AppName,
    /// Its published port.
    pub service: ServiceName,
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.app, self.service)
    }
}

/// What a proxy does with a connection to a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// Lead it to the owner.
    Active { node: NodeName, epoch: Epoch },
    /// Accept it and hold it, reading nothing, until the route changes or `deadline` has passed.
    Parked { operation: OperationId, deadline: Timestamp },
    /// Refuse it, and say why in the log.
    Down { reason: String },
}

/// A service, its listening port, and where it leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceRoute {
    /// The address that proxies listen on; `None` means the node's own.
    pub host_ip: Option<IpAddr>,
    /// The port that proxies listen on.
    pub port: u16,
    /// Where it leads.
    pub route: Route,
}

/// All routes, as of one revision of the store. A pure function of the store's content.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RouteTable {
    /// The revision it was computed from.
    pub revision: Revision,
    /// The routes.
    pub services: BTreeMap<ServiceKey, ServiceRoute>,
    /// Where each node's proxy takes over connections.
    pub mesh: BTreeMap<NodeName, std::net::SocketAddr>,
}
