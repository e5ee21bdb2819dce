//! The gRPC border: messages, the client, serving and forwarding, conversions to the model, error codes.
//!
//! Nothing here decides anything or knows the engine: the daemon implements the generated services, the `flocker`
//! command uses [`Client`].

mod address;
mod client;
mod codes;
pub mod convert;
mod failure;
mod forward;
pub mod limits;
mod serve;
#[allow(
    clippy::allow_attributes_without_reason,
    reason = "generated code inside carries such attributes"
)]
pub mod store;

/// The messages, clients and servers generated from `flocker.proto`, `agent.proto` and `model.proto`.
#[allow(missing_docs, reason = "generated from the .proto files, which say what each is")]
#[allow(
    unreachable_pub,
    clippy::too_many_lines,
    clippy::allow_attributes_without_reason,
    reason = "generated"
)]
pub mod v1 {
    tonic::include_proto!("flocker.v1");
}

pub use address::{Address, InvalidAddress, SOCKET_DEFAULT};
pub use client::{Client, LogChunks, Operations};
pub use codes::Code;
pub use failure::Failure;
pub use forward::{Forward, Forwarding, Target};
pub use serve::{
    Connection, ListenError, agent_service, control_service, incoming_tcp, incoming_unix, server,
    unix_listener,
};
