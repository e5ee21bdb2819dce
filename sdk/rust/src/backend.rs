//! Write a storage backend: implement [`Driver`] for what keeps the bytes, name it in [`export_backend!`](crate::export_backend).
//!
//! What a copy of a volume is (its role, its epoch, its snapshots) is the SDK's business. It stands in a [`Document`], one
//! for each volume, which the driver keeps and never looks into. A driver knows *disks*: whatever holds the bytes of one
//! live volume, of one snapshot, or of one that is being received. It may be a device of an array, or a folder.
//!
//! ```text
//! a change:   disks are made --> the document is replaced --> the disks that it no longer names are discarded
//!                                (the point of no return)
//! ```
//!
//! A crash before the document was replaced leaves disks that nothing names, one after it as well; a later change of that
//! volume discards them. So every call may fail, and be made again.

mod document;
#[doc(hidden)]
pub mod glue;
#[cfg(test)]
mod tests;
mod verbs;

use std::fmt;

pub use crate::bindings::{
    backend::{
        exports::flocker::plugin::storage_backend::{Access, Owner},
        flocker::plugin::{commands, http, kv, trees},
    },
    policy::flocker::plugin::types::Failure,
};
pub use document::Document;

/// What every call comes back with.
pub type Answer<T> = Result<T, Failure>;

/// `failure.code`: a newer epoch was seen.
pub const STALE: u32 = 10;
/// `failure.code`: something holds the volume; it is tried again later.
pub const BUSY: u32 = 11;
/// `failure.code`: the pool has no room.
pub const FULL: u32 = 12;
/// `failure.code`: the copy holds what it should not.
pub const DIVERGED: u32 = 13;

/// An error that has no code of its own.
pub fn failure(message: impl Into<String>) -> Failure {
    coded(0, message)
}

/// An error that the host understands: one of the codes above, or another one of `wit/codes.md`.
pub fn coded(code: u32, message: impl Into<String>) -> Failure {
    Failure { code, message: message.into(), retry_after_ms: None }
}

/// What keeps the bytes. One value answers many calls, and nothing that it remembers outlives it but its settings: the
/// host may ask a fresh one at any time.
///
/// Names of volumes are lower-case letters, digits and hyphens, 64 at most. Every call may come again after a failure, and
/// after an answer that was lost.
pub trait Driver: Default + 'static {
    /// What it is called.
    const NAME: &'static str;
    /// A JSON schema of the settings, as of a [`Policy`](crate::Policy).
    const SETTINGS_SCHEMA: &'static str = "";
    /// What an operator has to grant: keys of `info.attrs` in `wit/codes.md`, with their values.
    const NEEDS: &'static [(&'static str, &'static str)];
    /// What it has beyond snapshots and increments of them: `quota`, if a volume cannot outgrow its size.
    const FEATURES: &'static [&'static str] = &[];

    /// What [`Driver::replace`] compares: a revision, an ETag, the document as it was read. `()` where nobody but this
    /// node writes.
    type Revision;

    /// Takes the operator's settings, a JSON document, once and before anything else.
    ///
    /// # Errors
    /// What is wrong with them. Unless overridden, anything but `{}` is refused.
    fn configure(&mut self, settings: &str) -> Result<(), String> {
        match settings.trim() {
            "" | "{}" => Ok(()),
            _ => Err("this backend has no settings".into()),
        }
    }

    /// Where the pool is, for people.
    fn pool(&self) -> String;

    /// What the pool has room for.
    ///
    /// # Errors
    /// It does not answer, as of every call below.
    fn capacity(&self) -> Answer<Capacity>;

    /// The documents in the order of their volumes' names, those after `after`, `limit` of them; fewer means that these are
    /// the last. One that is damaged is in its place, as an error: it must not make the others unknown.
    fn documents(&self, after: Option<&str>, limit: u32) -> Answer<Vec<Named>>;

    /// A volume's document.
    ///
    /// # Errors
    /// Also one that is damaged. Damage is never taken for absence: `None` lets the volume be made anew.
    fn read(&self, volume: &str) -> Answer<Option<Stored<Self::Revision>>>;

    /// Puts a document in the place of the one that was `seen`, or where there was none; durably and at once. Answers what
    /// a later call has to have seen.
    ///
    /// # Errors
    /// Storage that several nodes reach refuses whoever is late: with [`STALE`] if the document there has a newer
    /// [`epoch`](Document::epoch), with [`BUSY`] if it is another one than was seen.
    fn replace(
        &self,
        volume: &str,
        seen: Option<Self::Revision>,
        document: &Document,
    ) -> Answer<Self::Revision>;

    /// Removes the document that was seen, whose disks are gone. Refused as [`Driver::replace`].
    fn remove(&self, volume: &str, seen: Stored<Self::Revision>) -> Answer<()>;

    /// Makes room for the document of a volume that has none.
    ///
    /// # Errors
    /// There is data of a volume of that name: its document was lost, and it belonged to somebody. What an earlier attempt
    /// left is empty, and no reason.
    fn prepare(&self, volume: &str) -> Answer<()> {
        let _ = volume;
        Ok(())
    }

    /// The ids of a volume's disks, also of those that no document names.
    fn disks(&self, volume: &str) -> Answer<Vec<String>>;

    /// Makes a blank disk for a live volume. A folder belongs to `owner`; of a device the host makes a filesystem.
    fn blank(&self, new: &New<'_>, size: u64, owner: Option<Owner>) -> Answer<Made>;

    /// Makes a disk that the host fills with a snapshot: a blank device. Of a folder it only says where: the host makes
    /// it, and [`Driver::disks`] lists it from then on.
    fn receive(&self, new: &New<'_>, size: u64) -> Answer<Made>;

    /// Makes a disk that holds what the disk `live` holds now, and does not change any more.
    fn snapshot(&self, new: &New<'_>, live: &str) -> Answer<Made>;

    /// Makes a disk for a live volume that holds what the disk `snapshot` holds.
    fn restore(&self, new: &New<'_>, snapshot: &str) -> Answer<Made>;

    /// Gives a live disk another size.
    fn resize(&self, volume: &str, disk: &str, size: u64) -> Answer<()>;

    /// Removes a disk. One that is gone already is no error.
    fn discard(&self, volume: &str, disk: &str) -> Answer<()>;

    /// Where this node reaches a disk's bytes; makes it so, if it is not.
    fn attach(&self, volume: &str, disk: &str, mode: Mode) -> Answer<Access>;
}

/// Bytes of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// All of them.
    pub total_bytes: u64,
    /// Those that can still be used.
    pub free_bytes: u64,
}

/// A document, as it was read.
#[derive(Debug, Clone)]
pub struct Stored<R> {
    /// Which one it is.
    pub revision: R,
    /// What it says.
    pub document: Document,
}

/// A document in a listing.
#[derive(Debug)]
pub struct Named {
    /// The volume's name.
    pub volume: String,
    /// What it says, or what is wrong with it.
    pub document: Answer<Document>,
}

/// What the host does with a disk's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It reads a snapshot.
    ReadOnly,
    /// It lets a live volume be written, or fills what it receives.
    Write,
}

/// What a disk is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The owner's data.
    Live,
    /// A moment of it.
    Snapshot,
    /// What another node sends.
    Received,
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Live => "live",
            Self::Snapshot => "snapshot",
            Self::Received => "received",
        })
    }
}

/// A disk that is to be made. Storage knows it again either by its key or by its name.
#[derive(Debug)]
pub struct New<'a> {
    /// The volume that it belongs to.
    pub volume: &'a str,
    /// What it is for.
    pub purpose: Purpose,
    op: &'a str,
    epoch: u64,
    change: u64,
}

impl New<'_> {
    /// For storage that takes a client's key for a request: the same key for the same volume may answer the disk that was
    /// made by it before. It is a text of any characters, another one for each operation and for each change of the document.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}/{}/{}/{}", self.op, self.epoch, self.change, self.purpose)
    }

    /// For storage where the client names things: `live-7`. No disk that counts has it, or will have it again. What is there
    /// by that name was left by an attempt that failed, and has to be made anew.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}-{}", self.purpose, self.change)
    }
}

/// A disk that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Its id, by which it is known from now on; no other disk of the volume has it.
    pub disk: String,
    /// What identifies the content of a snapshot: up to 128 printed characters, which nothing else gets, on no node and
    /// never.
    pub guid: String,
    /// When it was made, in milliseconds since 1970-01-01 UTC.
    pub made_ms: u64,
    /// The bytes that it holds, if that is known; else its size counts.
    pub bytes: Option<u64>,
}

/// Makes a component of a [`Driver`](crate::backend::Driver), once per crate: `export_backend!(MyDriver)`.
#[macro_export]
macro_rules! export_backend {
    ($driver:ty) => {
        // Only a component has these symbols; tests run on the author's machine.
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct Glue;

            impl $crate::backend::glue::Author for Glue {
                type Driver = $driver;
                const VERSION: &'static str = env!("CARGO_PKG_VERSION");
            }

            type Component = $crate::backend::glue::Component<Glue>;
            $crate::bindings::policy::export_policy!(Component with_types_in $crate::bindings::policy);
            $crate::bindings::backend::export_storage!(Component with_types_in $crate::bindings::backend);
        };
        // On the author's machine too, it has to be one.
        const _: fn() = || {
            fn is<D: $crate::backend::Driver>() {}
            is::<$driver>();
        };
    };
}
