//! What is due when, and which copies there are.

use crate::Timestamp;

/// The lane of snapshots on the owner's node.
pub const SNAPSHOT: &str = "snapshot";

/// Something to be done about a volume. Of several policies, everything that one of them finds due is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// When; now, if that has passed.
    pub at: Timestamp,
    /// What: [`SNAPSHOT`], `replicate`, or the name of a repository.
    pub lane: String,
    /// For people, and for the policy itself when it prunes.
    pub label: String,
}

impl Due {
    /// A snapshot at this moment; the label says what for.
    #[must_use]
    pub fn snapshot(at: Timestamp, label: impl Into<String>) -> Self {
        Self { at, lane: SNAPSHOT.to_owned(), label: label.into() }
    }
}

/// A snapshot or a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// Its name.
    pub tag: String,
    /// When it was taken.
    pub taken: Timestamp,
    /// The label of what was due.
    pub label: String,
    /// What it refers to.
    pub bytes: u64,
}

impl Copied {
    /// For tests: a copy that was taken then.
    #[must_use]
    pub fn sample(taken: Timestamp) -> Self {
        Self { tag: format!("at-{}", taken.0), taken, label: String::new(), bytes: 0 }
    }
}

/// A copy that may go. It goes only if every policy says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Droppable {
    /// Its position among the copies of the question.
    pub copy: usize,
    /// For people.
    pub reason: String,
}
