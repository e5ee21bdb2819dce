//! Traits for the outside, written for the engine's needs, each with a suite of contract tests that the pretend one in
//! `flocker-sim` and the real one both pass.
//!
//! Nothing here implements a trait. A suite is a plain async function over the trait, in [`contract`].

mod backend;
mod clock;
pub mod contract;
mod engine;
mod peer;
mod replication;
mod routes;
mod store;

pub use backend::{
    Attachment, Backend, BackendError, ByteStream, Change, Description, HereAlready, Op, Receiver,
    ResumeToken, StoragePlugin, refuse_reserved_and_secret,
};
pub use clock::{Clock, SystemClock};
pub use engine::{
    Container, ContainerEvent, ContainerId, ContainerPlan, ContainerState, Engine, EngineError,
    ExecResult, LogChunk, LogStream, VerifiedMount,
};
pub use peer::{
    AttachOrder, Observation, ObservedApp, ObservedContainer, Order, Peer, PeerError,
    PeerErrorKind, ReplicaSeen, Reply, Sent, Step, VolumeEpoch, VolumeOrder,
};
pub use replication::{Progress, Replication, ReplicationError, SendJob};
pub use routes::Routes;
pub use store::{
    Check, Entry, Listing, RequestId, Store, StoreChange, StoreError, Transaction, WatchStream,
    Write,
};
