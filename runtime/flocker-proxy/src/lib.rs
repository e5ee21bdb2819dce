//! The data plane: every node answers every published port, and always leads to where the app is now.
//!
//! It follows a table of routes and says when it does; it decides nothing about where an app should be, stores nothing,
//! and looks into no client's bytes.
//!
//! ```text
//!                    listeners ──> ingress ──────────────┬──> relay ──> the container   (this node owns the app)
//!   client ──────────> (every       finds the owner, or  │
//!                       port)       holds the connection └──> relay ──> the owner's mesh port
//!
//!   other nodes ─────> mesh         checks the epoch     ────> relay ──> the container
//! ```
//!
//! A connection is *held* (accepted, and nothing of it read) while its service is parked, and while its owner cannot be
//! reached: until the far end said that it takes the connection, nothing of the client's was consumed, so trying again
//! loses nothing. It is *refused* with a reset, a counter and a line in the log, never silently.
//!
//! A connection that exists is *quiesced* when its service is parked: no more is read from the client, the answer that
//! is on its way still arrives, and the client sees an orderly end. It is *cut*, by a reset, when its owner or epoch
//! changed without a park: what came through half may not look whole. One on which nothing was said yet in either
//! direction is held again instead of closed; its client cannot tell the difference.

mod core;
mod ingress;
mod limits;
mod listeners;
mod mesh;
mod proxy;
mod relay;
pub mod routing;
mod service;
mod socket;
mod stats;
pub mod wire;

pub use limits::Limits;
pub use proxy::{Proxy, ProxyConfig};
pub use stats::{MeshStats, ServiceStats, Stats};
