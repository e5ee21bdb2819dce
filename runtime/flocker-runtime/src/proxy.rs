//! The node's proxy, as the agent needs it, fed with the routes that follow from the cluster's records.

use std::net::SocketAddr;

use async_trait::async_trait;
use flocker_engine::follower::Followed;
use flocker_model::{Epoch, Revision, ServiceKey};
use flocker_ports::Routes;
use flocker_proxy::Proxy;
use tokio_util::sync::CancellationToken;

/// The proxy behind the agent's port.
#[derive(Debug)]
pub(crate) struct ProxyRoutes(pub(crate) Proxy);

#[async_trait]
impl Routes for ProxyRoutes {
    async fn applied(&self, revision: Revision) {
        self.0.applied(revision).await;
    }

    fn serve(&self, service: &ServiceKey, epoch: Epoch, address: SocketAddr) {
        self.0.serve(service, epoch, address);
    }

    fn withdraw(&self, service: &ServiceKey) {
        self.0.withdraw(service);
    }

    fn troubles(&self) -> Vec<String> {
        self.0.troubles()
    }
}

/// Gives the proxy every table that follows from the records, until cancelled. While the store is away the last one
/// stays in force.
pub(crate) async fn publish(proxy: Proxy, mut followed: Followed, stop: CancellationToken) {
    loop {
        let state = followed.borrow_and_update().clone();
        if let Some(state) = state {
            proxy.publish(state.routes());
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = followed.changed() => if changed.is_err() { return },
        }
    }
}
