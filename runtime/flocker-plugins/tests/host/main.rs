//! The plugin host against healthy and hostile components. Hostile ones are written in WebAssembly text, so that these
//! tests need no toolchain but the host's own.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod corpus;
mod explained;
mod forge;
mod guest;
mod hostile;
mod limits;
mod modes;
mod policies_data;
mod policies_placement;
mod policies_rebalance;
mod records;
mod replays;
mod signed;
mod upgrades;
mod virtual_wasi;
mod world;
