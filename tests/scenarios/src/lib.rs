//! What the scenarios stand on: a Docker of their own, real daemons, an app that keeps a log, and a client that counts
//! what it was promised. Needs root, Docker's and btrfs' programs, and the built programs of this workspace.
//!
//! Nothing outlives a [`Cluster`]: it takes its processes, containers, bridges, mounts and devices with it, also when a
//! test panics.

mod client;
mod cluster;
mod daemon;
mod dockerd;
mod flocker;
mod home;
mod programs;
mod say;
mod wait;

pub use client::{Client, Seen};
pub use cluster::{Cluster, NAMES, manifest, scenario, scenario_with};
pub use daemon::Daemon;
pub use dockerd::{Container, Dockerd, IMAGE};
pub use flocker::{Flocker, Operation, Said};
pub use programs::{flocker_gate, flocker_runtime, plugin};
pub use say::say;
pub use wait::{LIMIT, until, within};
