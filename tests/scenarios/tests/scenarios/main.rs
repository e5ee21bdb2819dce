//! Scenarios with real processes: daemons, a Docker of their own, pools, and a client that counts.

#[path = "../../../../runtime/flocker-plugins/tests/backend/forge.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "the host's own tests use all of it")]
mod forge;
mod live_arrays;
mod live_backends;
mod live_drain;
mod live_faults;
mod live_hostile;
mod live_hostile_backends;
mod live_kills;
mod live_moves;
mod live_nodes;
mod live_policies;
mod live_refusals;
mod live_replicas;
mod live_upgrades;
mod live_zfs;
