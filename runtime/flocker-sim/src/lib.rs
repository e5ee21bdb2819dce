//! A pretend world for tests: storage, containers, network, store.
//!
//! Nothing here reads a clock other than tokio's, draws a number that no seed decides, or depends on the order of a
//! hash map: the same seed gives the same run.

pub mod backend;
mod clock;
pub mod differential;
mod engine;
pub mod faults;
mod network;
pub mod store;
mod world;

pub use backend::SimBackend;
pub use clock::SimClock;
pub use engine::SimEngine;
pub use faults::{FaultScript, Faults, NoFaults, Outcome};
pub use network::{Trap, Victim, step_name};
pub use store::SimStore;
pub use world::{Unwritten, World};
