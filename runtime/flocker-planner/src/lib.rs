//! Decisions: where an app goes, what happens next in an operation, which routes follow from the cluster's records.
//!
//! Everything here is a function of its arguments: no clock, no randomness, no I/O, no async. A decision says why,
//! also when it decides to do nothing.

pub mod backups;
pub mod failover;
pub mod phases;
mod placement;
pub mod plan;
mod policies;
pub mod rebalance;
pub mod replicas;
pub mod restart;
pub mod routes;
mod view;

pub use backups::{Copied, Droppable, Due, PruneQuestion, Schedule, ScheduleQuestion};
pub use failover::{Course, Incident, Verdict};
pub use placement::{
    Allowed, BuiltIn, DecidedBy, Decision, Excluded, SCORE_MAX, Settled, Shadow, Tie, candidates,
    check, decide, place, worth_moving,
};
pub use policies::{
    Answer, AppRow, Candidate, ClusterView, Consultation, Consulted, Evidence, Failed, NodeRow,
    Opinion, Placed, PlacementQuestion, Policies, PolicyAnswer, PolicyFailure, Reason, ReplicaRow,
    VolumeRow,
};
pub use rebalance::{ProposedMove, RebalanceQuestion};
