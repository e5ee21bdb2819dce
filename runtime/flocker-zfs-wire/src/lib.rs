//! What `flocker-zfs` and `flocker-zfs-helper` say to each other: requests, answers, and how they cross a socket.
//!
//! Each message is its length, four bytes with the lowest first, and then JSON: the helper must survive whatever it is
//! sent, and the decoder of JSON bounds how deep values nest. A stream's pipe travels beside the first byte of the request
//! that names it. Answers come in any order; a number says to which request each belongs.

mod frame;
mod serve;

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

pub use frame::{FRAME_MAX, HEADER, body_length, encode, receive, send};
pub use serve::serve;

/// Named values, as the kernel takes and gives them.
pub type Map = BTreeMap<String, Value>;

/// A value of ZFS's own lists. What we have no use for is [`Value::Other`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Value {
    /// Only its name says something.
    Flag,
    /// Yes or no.
    Bool(bool),
    /// A number.
    Unsigned(u64),
    /// A number that may be below zero; errors of single objects, and every number of a channel program.
    Signed(i64),
    /// Text.
    Text(String),
    /// Values of their own.
    List(Map),
    /// Something else.
    Other,
}

/// A key of 256 bits. It is shown to nobody.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key(pub [u8; 32]);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// What to do. Each is one call of libzfs_core's, with all objects that it takes at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Call {
    /// Whether a dataset or snapshot is there.
    Exists { name: String },
    /// Makes a filesystem with properties in the kernel's form; with a key, one that is encrypted with it.
    Create { name: String, properties: Map, key: Option<Key> },
    /// Gives the kernel the key of an encrypted filesystem; as a `trial`, it only says whether it is the right one.
    LoadKey { name: String, key: Key, trial: bool },
    /// Lets the kernel forget the key of a filesystem that is not mounted.
    UnloadKey { name: String },
    /// Removes a filesystem without snapshots, or what an unfinished receive left.
    Destroy { name: String },
    /// Gives a filesystem another name.
    Rename { from: String, to: String },
    /// Takes snapshots of one pool, all at one moment or none.
    Snapshot { names: Vec<String>, properties: Map },
    /// Removes snapshots of one pool, all or none; those that are gone already are no error.
    DestroySnapshots { names: Vec<String> },
    /// Holds snapshots, each under one tag.
    Hold { holds: BTreeMap<String, String> },
    /// Releases holds: of each snapshot, one tag.
    Release { holds: BTreeMap<String, String> },
    /// Makes bookmarks, by name, of snapshots or other bookmarks.
    Bookmark { marks: BTreeMap<String, String> },
    /// The bookmarks of a filesystem with their identities.
    Bookmarks { name: String },
    /// Removes bookmarks.
    DestroyBookmarks { names: Vec<String> },
    /// Makes a filesystem out of a snapshot.
    Clone { name: String, origin: String, properties: Map },
    /// Turns the dependence of a clone on its origin around.
    Promote { name: String },
    /// Puts a filesystem back to its newest snapshot, which must be `to`.
    Rollback { name: String, to: String },
    /// Runs a program inside the pool, in one transaction group; one that is not `sync` only reads.
    Program { pool: String, program: String, sync: bool, arguments: Map },
    /// What a resume token says.
    ReadToken { token: String },
    /// Writes a stream into the pipe that comes with the request.
    Send { snapshot: String, base: Option<String>, flags: SendFlags, resume: Option<ResumeAt> },
    /// Makes a snapshot of the stream in the pipe that comes with the request. What came of a stream that ended too early
    /// is kept. `properties` are set where the filesystem is made by it. A `raw` one is encrypted as it comes.
    Receive { snapshot: String, properties: Map, raw: bool },
}

/// What a stream may hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "these are four flags of the kernel's")]
pub struct SendFlags {
    /// Small blocks inside their pointers.
    pub embedded: bool,
    /// Blocks above 128 KiB.
    pub large_blocks: bool,
    /// Blocks as they are compressed on the disk.
    pub compressed: bool,
    /// Blocks as they are encrypted on the disk.
    pub raw: bool,
}

/// Where in a snapshot a stream goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResumeAt {
    /// The object.
    pub object: u64,
    /// The byte in it.
    pub offset: u64,
}

/// A call, and the number of its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Grows by one with each request; zero is the helper's own word that it is ready.
    pub id: u64,
    /// What to do.
    pub call: Call,
}

/// What came of a call.
pub type Outcome = Result<Map, Failure>;

/// The outcome of the request with this number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The request's number.
    pub id: u64,
    /// What came of it.
    pub outcome: Outcome,
}

/// Why a call failed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The error's number; ZFS has some of its own above those of the system.
    pub errno: i32,
    /// The same for single objects, where the call is about several.
    pub objects: BTreeMap<String, i32>,
    /// What a channel program said.
    pub message: Option<String>,
}

impl Failure {
    /// A failure without details.
    #[must_use]
    pub fn of(errno: i32) -> Self {
        Self { errno, ..Self::default() }
    }

    /// A failure with words.
    #[must_use]
    pub fn saying(errno: i32, message: impl Into<String>) -> Self {
        Self { errno, message: Some(message.into()), ..Self::default() }
    }
}

impl Value {
    /// The text, where it is one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Flag
            | Self::Bool(_)
            | Self::Unsigned(_)
            | Self::Signed(_)
            | Self::List(_)
            | Self::Other => None,
        }
    }

    /// The number, where it is one. Channel programs know only signed ones: a large identity comes back below zero.
    #[must_use]
    pub fn number(&self) -> Option<u64> {
        match self {
            Self::Unsigned(number) => Some(*number),
            Self::Signed(number) => Some(number.cast_unsigned()),
            Self::Flag | Self::Bool(_) | Self::Text(_) | Self::List(_) | Self::Other => None,
        }
    }

    /// The named values, where it is a list.
    #[must_use]
    pub fn list(&self) -> Option<&Map> {
        match self {
            Self::List(list) => Some(list),
            Self::Flag
            | Self::Bool(_)
            | Self::Unsigned(_)
            | Self::Signed(_)
            | Self::Text(_)
            | Self::Other => None,
        }
    }

    /// Whether it says yes. What is no yes or no says no.
    #[must_use]
    pub fn is_true(&self) -> bool {
        *self == Self::Bool(true)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Unsigned(number)
    }
}

impl From<Map> for Value {
    fn from(list: Map) -> Self {
        Self::List(list)
    }
}
