//! `Backend` on ZFS: one dataset per volume, its snapshots, send and receive with resume tokens, `refquota`.
//!
//! It changes nothing but datasets that it made below its own parent, and of their snapshots only those of its prefix.
//! Snapshots, holds, properties and datasets of other people are neither counted nor touched, and outlive everything.
//!
//! # What is where in a pool
//!
//! ```text
//! PARENT                        `tank/flocker`, given by the operator, made where it is missing
//! PARENT/VOLUME                 `data/` is what containers see, `.flocker/volume` beside it proves whose it is
//!   io.flocker:role             making, live, sealed, replica, gone
//!   io.flocker:epoch, :size     the newest epoch that this copy has seen; the most that may be written to it
//!   io.flocker:reserved         the pool keeps room for all of it, where it is live
//!   io.flocker:secret           its content is encrypted, and this is what its key is called; it is sent as it is
//!   io.flocker:way              the way back to a snapshot that it is on, or what it was left by
//! PARENT/VOLUME@flocker-TAG     a snapshot of ours
//! PARENT/VOLUME@flocker.GUID    one that was removed, and that a clone still stands on
//! PARENT/VOLUME#flocker-TAG     its bookmark, from which increments are sent also if somebody removed the snapshot
//! PARENT/VOLUME/%recv           an unfinished receive, kept by ZFS itself
//! ```
//!
//! # Why a crash leaves nothing half-made
//!
//! The properties say what a volume *should* be; `settle` makes it so, and may be run any number of times. They are
//! checked and set by a channel program, in one transaction group of the pool: whoever decided by what is no longer so
//! changes nothing, and decides again. So an older epoch is refused by the pool itself, whoever asks.
//!
//! # Who does what
//!
//! Everything that changes snapshots or data goes to libzfs_core through the [helper](helper), a program of its own, since
//! one that is linked with it does not start where ZFS is absent. The `zfs` command lists, and sets what channel programs
//! cannot.

mod backend;
mod clone;
mod command;
mod errors;
mod file;
mod helper;
mod keys;
mod mount;
mod plan;
mod receive;
mod repair;
mod rollback;
mod send;
mod snapshots;
mod state;
mod stream;
mod verbs;

pub use backend::{OpenError, ZfsBackend, ZfsConfig};
pub use file::PoolFile;
