//! Decisions: where an app goes, what happens next in an operation, which routes follow from the cluster's records.
//!
//! Everything here is a function of its arguments: no clock, no randomness, no I/O, no async. A decision says why,
//! also when it decides to do nothing.

pub mod phases;
mod placement;
pub mod plan;
mod policies;
pub mod replicas;
pub mod restart;
pub mod routes;
mod view;

pub use placement::{
    Allowed, BuiltIn, Consulted, DecidedBy, Decision, Excluded, Failed, SCORE_MAX, candidates,
    check, decide, place, worth_moving,
};
pub use policies::{
    Answer, AppRow, Candidate, ClusterView, Evidence, NodeRow, PlacementQuestion, Policies,
    PolicyAnswer, PolicyFailure, Reason, ReplicaRow, VolumeRow,
};
