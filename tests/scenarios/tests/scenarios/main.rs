//! Scenarios with real processes: daemons, a Docker of their own, pools, and a client that counts.

mod live_drain;
mod live_faults;
mod live_hostile;
mod live_kills;
mod live_moves;
mod live_nodes;
mod live_policies;
mod live_refusals;
