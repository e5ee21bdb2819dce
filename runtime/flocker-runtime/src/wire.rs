//! Agents over the network: a node's own agent as a gRPC service, and another node's agent as a [`Peer`].
//!
//! Nothing is decided here. A call that is cut off is given up on the agent's side too; the leader gives the order
//! again, which every step allows.

mod control;
mod failing;
mod observation;
mod order;
mod remote;
mod replicas;
mod serve;
#[cfg(test)]
mod tests;
mod volumes;
mod watch;

pub(crate) use control::control_server;
pub(crate) use remote::RemotePeer;
pub(crate) use serve::agent_server;
