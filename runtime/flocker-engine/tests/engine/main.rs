//! The engine in a pretend cluster: what must hold whoever dies, hangs or changes their mind, whenever.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "helpers of tests: whatever a test did not expect ends it"
)]

mod aborts;
mod clones;
mod elsewhere;
mod late;
mod leftovers;
mod lifecycle;
mod moves;
mod pretend;
mod replicas;
mod silence;
mod snapshots;
mod supervision;
mod trouble;
