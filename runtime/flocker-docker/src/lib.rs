//! The container engine on Docker: every container is made, gated, mounted, opened and ended through here. Touches no
//! container and no network that does not carry this node's label, publishes no port, and lets Docker start nothing.
//!
//! ```text
//! create ─> Created ─ start_gated ─> Gated ─ open_gate ─> Running
//!              ^                       │                     │
//!              └── (replaced) ── Exited <────── stop ────────┘
//! ```
//!
//! A container whose gate was not opened by us is *gated*, whatever Docker did with it: a start by hand, by `docker
//! restart` or by a restarted dockerd ends at the gate.

mod command;
mod config;
mod connection;
mod elf;
mod engine;
mod events;
mod exec;
mod gate;
mod labels;
mod mount;
mod network;
mod process;
mod spec;
mod state;
#[cfg(feature = "testing")]
pub mod testing;

pub use config::{DockerConfig, Subnet};
pub use elf::check_gate;
pub use engine::DockerEngine;
