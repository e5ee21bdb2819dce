//! What a policy proposes for the cluster's sake.

use crate::{App, Node};

/// An app had better be elsewhere.
#[derive(Debug, Clone, PartialEq)]
pub struct Move {
    pub(crate) app: u32,
    pub(crate) target: u32,
    pub(crate) gain: f64,
    pub(crate) reason: String,
}

impl Move {
    /// Moves `app` to `target`. `gain` says how much better the cluster is for it; it is only compared with other gains of
    /// the same policy, the largest first, and must be a number.
    #[must_use]
    pub fn new(app: &App, target: &Node, gain: f64) -> Self {
        Self { app: app.row.place(), target: target.row.place(), gain, reason: String::new() }
    }

    /// Says why; `flocker explain` shows it.
    #[must_use]
    pub fn because(self, why: impl Into<String>) -> Self {
        Self { reason: why.into(), ..self }
    }

    /// Whether it moves this app to this node.
    #[must_use]
    pub fn leads(&self, app: &App, target: &Node) -> bool {
        (self.app, self.target) == (app.row.place(), target.row.place())
    }

    /// How much better the cluster is for it.
    #[must_use]
    pub fn gain(&self) -> f64 {
        self.gain
    }

    /// Why.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }
}
