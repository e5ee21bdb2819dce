//! Write a policy for `flocker-runtime`: implement [`Policy`] and the hooks that it has an opinion on, name it in
//! [`export!`], build for `wasm32-unknown-unknown`. The README beside this crate goes through it step by step.
//! With the feature `backend`, the module `backend` is for storage backends.
//!
//! ```
//! use flocker_sdk::{Node, Placement, Policy, Request, Score};
//!
//! /// Prefers the node with the most free memory.
//! #[derive(Default)]
//! struct MostMemory;
//!
//! impl Policy for MostMemory {}
//!
//! impl Placement for MostMemory {
//!     fn score(&self, node: &Node, request: &Request) -> Score {
//!         if node.memory_free() < request.memory() {
//!             return Score::refuse("too little memory");
//!         }
//!         Score::share(node.memory_free(), node.memory())
//!     }
//! }
//!
//! flocker_sdk::export!(MostMemory);
//! ```

mod app;
#[cfg(feature = "backend")]
pub mod backend;
mod backups;
#[doc(hidden)]
pub mod bindings;
mod cluster;
mod export;
mod failover;
#[doc(hidden)]
pub mod glue;
pub mod log;
mod node;
mod rebalance;
mod request;
mod score;
#[cfg(feature = "settings")]
mod settings;
mod table;
mod time;
mod volume;

use std::time::Duration;

#[cfg(feature = "settings")]
pub use settings::{schema_defaults, settings};

pub use app::App;
pub use backups::{Copied, Droppable, Due, SNAPSHOT};
pub use cluster::Cluster;
pub use failover::{Incident, Verdict};
pub use node::Node;
pub use rebalance::Move;
pub use request::Request;
pub use score::{SCORE_MAX, Score, Scores, share};
pub use time::Timestamp;
pub use volume::{Replica, Volume};

/// What every policy has. One value answers many questions, one after the other; its answers must follow from the
/// question alone, so that a decision can be replayed.
pub trait Policy: Default + 'static {
    /// A JSON schema of the settings. The host checks settings against it before it hands them over, and shows it to
    /// operators. Empty where there is none.
    const SETTINGS_SCHEMA: &'static str = "";

    /// Takes the operator's settings, a JSON document. Called once, before the first question.
    ///
    /// # Errors
    /// What is wrong with them; the plugin is then not loaded. Unless overridden, anything but `{}` is refused, so that
    /// nobody believes a setting works that nothing reads.
    fn configure(&mut self, settings: &str) -> Result<(), String> {
        match settings.trim() {
            "" | "{}" => Ok(()),
            _ => Err("this policy has no settings".into()),
        }
    }
}

/// Says where an app should be.
pub trait Placement: Policy {
    /// How good a node would be.
    fn score(&self, node: &Node, request: &Request) -> Score;

    /// The same for all candidates at once, for policies that compare nodes. As many scores as nodes, in their order.
    fn score_all(&self, nodes: &[Node], request: &Request) -> Scores {
        Scores::each(nodes, request, |node| self.score(node, request))
    }
}

/// Says which apps had better be elsewhere, for the cluster's sake rather than their own.
pub trait Rebalance: Policy {
    /// The moves that it would make, at most `max_moves` of them. Only apps in `movable` may be moved, each once; a target
    /// has to satisfy the hard rules and every placement policy as well.
    fn plan(&self, cluster: &Cluster, movable: &[App], max_moves: usize) -> Vec<Move>;
}

/// Says what becomes of the volumes of a node that stays silent.
pub trait Failover: Policy {
    /// What to do with one of its volumes. Nothing is promoted before the node is fenced and enough others agree that it
    /// is silent, whatever the answer.
    fn decide(&self, cluster: &Cluster, incident: &Incident, volume: &Volume) -> Verdict;
}

/// Says what is to be snapshotted or backed up when, and which copies may go.
pub trait Backups: Policy {
    /// What is due for a volume until `now + horizon`; what is due later is left for the next time.
    fn due(
        &self,
        cluster: &Cluster,
        volume: &Volume,
        now: Timestamp,
        horizon: Duration,
    ) -> Vec<Due>;

    /// After what time it wants to be asked again, though the host may ask earlier.
    fn ask_again(&self, horizon: Duration) -> Duration {
        horizon
    }

    /// Which of a volume's copies in a lane may go, oldest first in `copies`. Unless overridden, all are kept: a copy goes
    /// only if every policy says so.
    fn prune(
        &self,
        volume: &Volume,
        lane: &str,
        copies: &[Copied],
        now: Timestamp,
    ) -> Vec<Droppable> {
        let _ = (volume, lane, copies, now);
        Vec::new()
    }
}
