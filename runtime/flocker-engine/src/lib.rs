//! Observe, plan, execute: the leader that turns decisions into operations, and the agent that carries out their steps.
//!
//! The only crate in which time passes. It knows the outside through `flocker-ports` alone.

pub mod agent;
pub mod cluster;
pub mod control;
mod explain;
pub mod follower;
pub mod leader;
pub mod records;
