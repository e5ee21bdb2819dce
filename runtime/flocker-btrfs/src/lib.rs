//! `Backend` on btrfs: one subvolume per volume, read-only snapshots, `btrfs send` and `btrfs receive`, qgroup limits.
//!
//! It changes nothing outside its pool, and never deletes data that no snapshot holds, except on `destroy`.
//!
//! # What is where in a pool
//!
//! ```text
//! live/VOLUME                 the writable subvolume (read-only while sealed): `data/` is what containers see,
//!                             `.flocker/volume` beside it proves whose it is
//! snapshots/VOLUME/TAG/snap   read-only; the folder around it exists because a read-only subvolume cannot be renamed
//! incoming/VOLUME             an unfinished receive: what it is, the skeleton of the stream so far, what attempts made of it
//! staging/VOLUME              a subvolume on its way to `live/`
//! groups/                     snapshots of several volumes on their way to `snapshots/`
//! kept/VOLUME@EPOCH…          live data that no snapshot holds, put aside when another copy became the owner's
//! meta/VOLUME.json            the sidecar: role, epoch, size
//! meta/reserve                space for the next sidecars, so that a full pool can still be emptied
//! ```
//!
//! # Why a crash leaves nothing half-made
//!
//! The sidecar says what a volume *should* be; `settle` makes it so, and may be run any number of times. Every change
//! of a volume has the same three steps: build what is needed where nobody looks (`staging/`), write the sidecar
//! durably (the only point of no return), settle. A crash before the second step leaves rubbish that the next open
//! removes; a crash after it leaves work that the next open finishes. Snapshots of several volumes and received ones
//! have no sidecar; their point of no return is the rename of the folder that holds them.

mod backend;
mod clone;
mod command;
mod keeper;
mod layout;
mod mount;
mod pool;
mod receive;
mod roles;
mod rollback;
mod send;
mod settle;
mod sidecar;
mod skeleton;
mod snapshots;
mod spool;
mod subvolume;
mod written;

#[cfg(test)]
mod live;

pub use backend::BtrfsBackend;
pub use pool::{OpenError, PoolConfig};
