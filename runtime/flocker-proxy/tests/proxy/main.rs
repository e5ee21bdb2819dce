//! The proxy as nodes, apps and clients meet it: several proxies in one process, each on a loopback address of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests are tests")]

mod existing;
mod hold;
mod lead;
mod mesh;
mod ports;
mod support;
