//! The memory of the cluster: small records, changed by compare-and-swap, watched from a revision.

use std::{collections::BTreeSet, fmt, pin::Pin};

use async_trait::async_trait;
use bytes::Bytes;
use flocker_model::Revision;
use futures::Stream;

/// Tells a transaction that is sent again, because its answer was lost, from a new one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub String);

/// A record and when it was last changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its key: a path such as `app/shop`.
    pub key: String,
    /// Its content.
    pub value: Bytes,
    /// The revision of its last change.
    pub revision: Revision,
}

/// All records under a prefix, as of one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The records, by key.
    pub entries: Vec<Entry>,
    /// The revision of the whole store.
    pub revision: Revision,
}

/// What must be true for a transaction to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The key.
    pub key: String,
    /// The revision of its last change; `None`: there is no such record.
    pub revision: Option<Revision>,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The key.
    pub key: String,
    /// The new content; `None` removes the record.
    pub value: Option<Bytes>,
}

/// Changes that are made together or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// Sent again with the same id, it is not made twice.
    pub request: RequestId,
    /// What must be true.
    pub checks: Vec<Check>,
    /// What changes.
    pub writes: Vec<Write>,
}

impl Transaction {
    /// A key in bytes. Keys are paths of names; a longer one is a mistake.
    pub const KEY_BYTES_MAX: usize = 1024;
    /// All keys and values of one transaction in bytes, so that it fits into one message between nodes.
    pub const BYTES_MAX: usize = 1 << 20;

    /// Refuses what no store makes, so that every store refuses the same: an empty or overlong key, a key written
    /// twice, more than [`Self::BYTES_MAX`].
    ///
    /// # Errors
    /// [`StoreError::Failed`], and the transaction must not be sent again as it is.
    pub fn validate(&self) -> Result<(), StoreError> {
        let refuse = |reason: String| {
            let action = format!("could not make transaction `{}`", self.request.0);
            Err(StoreError::Failed { action, reason })
        };
        if self.request.0.is_empty() || self.request.0.len() > Self::KEY_BYTES_MAX {
            return refuse(format!(
                "its request id is empty or longer than {} bytes",
                Self::KEY_BYTES_MAX
            ));
        }
        let mut bytes = 0;
        let mut written = BTreeSet::new();
        for key in self.checks.iter().map(|c| &c.key).chain(self.writes.iter().map(|w| &w.key)) {
            if key.is_empty() || key.len() > Self::KEY_BYTES_MAX {
                return refuse(format!(
                    "key `{key:.80}` is empty or longer than {} bytes",
                    Self::KEY_BYTES_MAX
                ));
            }
            bytes += key.len();
        }
        for write in &self.writes {
            if !written.insert(&write.key) {
                return refuse(format!("it writes key `{}` twice", write.key));
            }
            bytes += write.value.as_ref().map_or(0, Bytes::len);
        }
        if bytes > Self::BYTES_MAX {
            return refuse(format!("it has {bytes} bytes, {} are the most", Self::BYTES_MAX));
        }
        Ok(())
    }
}

/// A record changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreChange {
    /// When.
    pub revision: Revision,
    /// Which.
    pub key: String,
    /// Its new content; `None` when it was removed.
    pub value: Option<Bytes>,
    /// Whether more changes of the same transaction follow: before they came, the records are in no state that anybody
    /// wrote.
    pub more: bool,
}

/// Changes in order, each once. A change of revision `r` is followed only by changes of `r` or later.
pub type WatchStream = Pin<Box<dyn Stream<Item = Result<StoreChange, StoreError>> + Send>>;

/// The memory of the cluster. What `commit` answered is durable.
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug {
    /// One record.
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError>;

    /// All records whose key starts with `prefix`, as of one revision.
    async fn list(&self, prefix: &str) -> Result<Listing, StoreError>;

    /// Makes the changes if every check holds; otherwise [`StoreError::Conflict`] and nothing changes. Each
    /// transaction that is made has the next revision, also one that changes nothing. Sent again with the same request
    /// id it is answered with the revision of the first time, for at least the next
    /// 10 000 transactions. Any other error leaves open whether it was made: send it again.
    async fn commit(&self, transaction: Transaction) -> Result<Revision, StoreError>;

    /// Every change after `after` to keys that start with `prefix`, and then those to come. The removal of a record
    /// that does not exist is no change. Nothing is kept for a slow reader: it reads the history when it comes to it.
    /// [`StoreError::Compacted`], at once or later, when that history is gone or `after` lies in the future (the store
    /// was restored from an older copy): list again, and watch from there. The stream ends after an error.
    async fn watch(&self, prefix: &str, after: Revision) -> Result<WatchStream, StoreError>;
}

/// What a store refuses or cannot do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Someone else changed the record first.
    #[error("record `{key}` was changed by someone else in the meantime")]
    Conflict { key: String },
    /// The history asked for is gone.
    #[error("the store no longer has the changes after revision {after}; its oldest is {oldest}")]
    Compacted { after: Revision, oldest: Revision },
    /// It cannot be reached.
    #[error(
        "the cluster store at `{address}` does not answer: {reason}\nhint: apps go on running without it; look at the node that holds it"
    )]
    Unreachable { address: String, reason: String },
    /// Its file is damaged.
    #[error(
        "the store file `{path}` is damaged: {reason}\nhint: it was left as it is; move it away and restore a copy, or start with an empty one: nodes that still have their volumes keep them"
    )]
    Corrupt { path: String, reason: String },
    /// It failed.
    #[error("{action}: {reason}")]
    Failed { action: String, reason: String },
}
