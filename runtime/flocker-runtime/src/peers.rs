//! The agents of all nodes: this node's own directly, the others' over gRPC.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use flocker_api::Address;
use flocker_engine::{agent::Agent, follower::Followed, leader::Peers};
use flocker_model::{AppName, ContainerName, Node, NodeName};
use flocker_ports::{LogStream, Observation, Order, Peer, PeerError, PeerErrorKind, Reply};

use crate::wire::RemotePeer;

/// The agents of all nodes.
#[derive(Debug)]
pub(crate) struct Directory {
    node: NodeName,
    agent: Agent,
    followed: Followed,
    others: Mutex<BTreeMap<(NodeName, SocketAddr), Arc<dyn Peer>>>,
}

impl Directory {
    pub(crate) fn new(node: NodeName, agent: Agent, followed: Followed) -> Self {
        Self { node, agent, followed, others: Mutex::default() }
    }

    /// Whether the cluster's records know a node at this address.
    fn knows(&self, name: &NodeName, address: &SocketAddr) -> bool {
        let state = self.followed.borrow();
        state.as_ref().is_some_and(|s| s.nodes.get(name).is_some_and(|n| n.value.api == *address))
    }
}

impl Peers for Directory {
    fn peer(&self, node: &Node) -> Arc<dyn Peer> {
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        // A node that was removed, or came back under another address: its channel goes.
        others.retain(|(name, address), _| self.knows(name, address));
        if node.name == self.node {
            return Arc::new(self.agent.clone());
        }
        let made = || -> Arc<dyn Peer> {
            match RemotePeer::new(node.name.clone(), &Address::Tcp(node.api)) {
                Ok(peer) => Arc::new(peer),
                Err(failure) => {
                    Arc::new(Unusable { node: node.name.clone(), message: failure.to_string() })
                }
            }
        };
        others.entry((node.name.clone(), node.api)).or_insert_with(made).clone()
    }
}

/// A node whose address cannot be used; it says so whatever it is asked.
#[derive(Debug)]
struct Unusable {
    node: NodeName,
    message: String,
}

impl Unusable {
    fn error(&self) -> PeerError {
        PeerError {
            node: self.node.clone(),
            kind: PeerErrorKind::Unreachable,
            message: self.message.clone(),
        }
    }
}

#[async_trait]
impl Peer for Unusable {
    async fn perform(&self, _: Order) -> Result<Reply, PeerError> {
        Err(self.error())
    }

    async fn observe(&self) -> Result<Observation, PeerError> {
        Err(self.error())
    }

    async fn logs(
        &self,
        _: &AppName,
        _: Option<&ContainerName>,
        _: bool,
        _: Option<u32>,
    ) -> Result<LogStream, PeerError> {
        Err(self.error())
    }
}
