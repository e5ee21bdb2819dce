//! A node is silent: the question, and what a policy would do with each of its volumes.

use std::time::Duration;

use crate::{Node, Replica, Timestamp};

/// A node that does not answer. In tests, make one with [`Incident::sample`].
#[derive(Debug, Clone)]
pub struct Incident<'a> {
    pub(crate) node: Node<'a>,
    pub(crate) now: Timestamp,
    pub(crate) silent: Duration,
    pub(crate) fenced: bool,
    pub(crate) votes: u32,
    pub(crate) quorum: u32,
}

impl<'a> Incident<'a> {
    /// The node.
    #[must_use]
    pub fn node(&self) -> &Node<'a> {
        &self.node
    }

    /// When the question is asked.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// For how long the node has been silent.
    #[must_use]
    pub fn silent(&self) -> Duration {
        self.silent
    }

    /// When the node was last heard of.
    #[must_use]
    pub fn silent_since(&self) -> Timestamp {
        self.now.before(self.silent)
    }

    /// Whether it is certain that it cannot write any more. The host promotes nothing before it is.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        self.fenced
    }

    /// How many nodes agree that it is silent.
    #[must_use]
    pub fn votes(&self) -> u32 {
        self.votes
    }

    /// How many must agree. The host promotes nothing before they do.
    #[must_use]
    pub fn quorum(&self) -> u32 {
        self.quorum
    }
}

impl Incident<'static> {
    /// For tests: this node has been silent for so long; it is fenced, and enough others agree.
    #[must_use]
    pub fn sample(node: &Node<'static>, now: Timestamp, silent: Duration) -> Self {
        Self { node: *node, now, silent, fenced: true, votes: 2, quorum: 2 }
    }
}

/// What to do with a volume of a silent node. Of several policies the most careful counts: freeze, then wait, then promote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub(crate) course: Course,
    pub(crate) reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Course {
    Wait(Duration),
    /// A row of the replicas.
    Promote(u32),
    Freeze,
}

impl Verdict {
    /// Ask again after this time.
    #[must_use]
    pub fn wait(again: Duration) -> Self {
        Self { course: Course::Wait(again), reason: String::new() }
    }

    /// Make this replica the owner's copy. What was written after its snapshot is lost.
    #[must_use]
    pub fn promote(replica: &Replica) -> Self {
        Self { course: Course::Promote(replica.row.place()), reason: String::new() }
    }

    /// Leave it to an operator, and this is why.
    #[must_use]
    pub fn freeze(why: impl Into<String>) -> Self {
        Self { course: Course::Freeze, reason: why.into() }
    }

    /// Says why; operators read it.
    #[must_use]
    pub fn because(self, why: impl Into<String>) -> Self {
        Self { reason: why.into(), ..self }
    }

    /// How long it waits, if it does.
    #[must_use]
    pub fn waits(&self) -> Option<Duration> {
        match self.course {
            Course::Wait(again) => Some(again),
            Course::Promote(_) | Course::Freeze => None,
        }
    }

    /// Whether it promotes this replica.
    #[must_use]
    pub fn promotes(&self, replica: &Replica) -> bool {
        self.course == Course::Promote(replica.row.place())
    }

    /// Whether it leaves the volume to an operator.
    #[must_use]
    pub fn is_freeze(&self) -> bool {
        self.course == Course::Freeze
    }

    /// Why.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }
}
