//! The engine on a dockerd of its own. Needs root and what [`flocker_docker::testing`] names.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what the tests share is test code as well"
)]

mod bench;
mod live_contract;
mod live_gate;
mod live_neighbours;
mod live_output;
mod live_restart;
