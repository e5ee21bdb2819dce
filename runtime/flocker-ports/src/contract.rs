//! What every implementation of a port must do, as tests that take the implementation.

pub mod backend;
pub mod engine;
pub mod store;
