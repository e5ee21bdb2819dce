//! A new build of a plugin, before it counts: asked beside the present one and compared, until it has answered often
//! enough or long enough without a failure.
//!
//! ```text
//! reload --> waiting --K decisions, or a while--> it takes the present build's place
//!               |
//!               +--a failure--> refused: not asked any more, and shown with the reason until the next reload
//! ```

use std::{
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use flocker_model::Timestamp;
use flocker_planner::PolicyFailure;

use crate::{plugin::Plugin, repeats::Repeats, slot::About};

/// So many different decisions in shadow let a new build count; one that is made over and over is one. A mistake that shows less often than that is what the breaker and
/// the build before are for.
pub const SHADOW_DECISIONS: u64 = 20;

/// After this time it counts however few decisions there were: a quiet cluster asks nothing for hours.
pub const SHADOW_FOR: Duration = Duration::from_mins(1);

/// A build that does not count yet, or never will.
pub(crate) struct Trial {
    pub(crate) plugin: Arc<Plugin>,
    /// When it counts at the latest.
    until: Timestamp,
    tally: Mutex<Tally>,
}

#[derive(Debug, Default)]
struct Tally {
    decisions: u64,
    disagreements: u64,
    failed: Option<PolicyFailure>,
    repeats: Repeats,
}

/// How a new build stands, for `flocker plugin ls`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrialInfo {
    /// The version that it gives itself.
    pub version: String,
    /// `sha256:…` of the file.
    pub digest: String,
    /// Different decisions in shadow so far.
    pub decisions: u64,
    /// How many are wanted.
    pub wanted: u64,
    /// When it counts at the latest.
    pub until: Timestamp,
    /// How many of the decisions would have been others.
    pub disagreements: u64,
    /// Why it will not count, if so.
    pub failed: Option<PolicyFailure>,
}

impl Trial {
    pub(crate) fn new(plugin: Plugin, now: Timestamp) -> Self {
        Self { plugin: Arc::new(plugin), until: now + SHADOW_FOR, tally: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is still asked.
    pub(crate) fn is_asked(&self) -> bool {
        self.lock().failed.is_none()
    }

    /// Notes down what was decided, and what would have been with its answer instead of the present build's.
    pub(crate) fn decided<D: Hash + PartialEq>(
        &self,
        about: &About,
        answered: Result<(), &PolicyFailure>,
        decided: &D,
        would_be: &D,
    ) {
        let mut tally = self.lock();
        if let Err(failure) = answered {
            tally.decisions += 1;
            tally.failed = Some(failure.clone());
        } else if tally.repeats.is_news(&about.subject, &(decided, would_be), about.now) {
            tally.decisions += 1;
            tally.disagreements += u64::from(decided != would_be);
        }
    }

    /// Whether it has earned the present build's place.
    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        let tally = self.lock();
        tally.failed.is_none() && (tally.decisions >= SHADOW_DECISIONS || now >= self.until)
    }

    pub(crate) fn info(&self) -> TrialInfo {
        let Tally { decisions, disagreements, failed, .. } = &*self.lock();
        TrialInfo {
            version: self.plugin.loaded.version.clone(),
            digest: self.plugin.loaded.digest.clone(),
            decisions: *decisions,
            wanted: SHADOW_DECISIONS,
            until: self.until,
            disagreements: *disagreements,
            failed: failed.clone(),
        }
    }
}
