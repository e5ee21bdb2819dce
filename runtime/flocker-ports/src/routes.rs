//! The node's own proxy, as the agent needs it.

use std::{fmt, net::SocketAddr};

use async_trait::async_trait;
use flocker_model::{Epoch, Revision, ServiceKey};

/// The proxy of one node.
#[async_trait]
pub trait Routes: Send + Sync + fmt::Debug {
    /// Returns when the proxy follows a table of at least this revision: new connections to services parked in it are
    /// held, and those that existed were let go.
    async fn applied(&self, revision: Revision);

    /// From now on this node answers for the service, under this epoch, at this address.
    fn serve(&self, service: &ServiceKey, epoch: Epoch, address: SocketAddr);

    /// This node no longer answers for the service.
    fn withdraw(&self, service: &ServiceKey);

    /// What an operator should look at: ports that could not be opened, connections that have to wait.
    fn troubles(&self) -> Vec<String> {
        Vec::new()
    }
}
