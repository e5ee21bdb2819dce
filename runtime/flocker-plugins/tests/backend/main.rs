//! Storage backends that are plugins: `plugins/dir-backend` and `plugins/http-backend` against the port's contract, and
//! hostile ones.
//!
//! Tests with `live` in their name mount folders, and need root. `plugins/` must have been built: `cargo xtask test`
//! does it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod corpus;
mod forge;
mod hostile;
mod live;
mod live_array;
mod world;
