//! Plugins that are configured and not loaded yet: a large one takes minutes to be compiled for the first time. Until then
//! each counts as one that fails, so that others decide without it, and nothing is moved because it is missing.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use flocker_model::Timestamp;
use flocker_planner::{Evidence, PolicyAnswer, PolicyFailure};

use crate::{Configured, Hook, LoadError, Mode, chatter::tame, exported_hooks};

/// A plugin that is not loaded yet, or could not be, for `flocker status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingInfo {
    /// Where it is loaded from.
    pub path: PathBuf,
    /// The hooks that it exports.
    pub hooks: Vec<Hook>,
    /// Since when it is awaited.
    pub since: Timestamp,
    /// Why it will not be loaded, if so.
    pub refused: Option<String>,
    /// How much it is going to count.
    pub weight: u32,
    /// Whether its answers are going to count.
    pub mode: Mode,
}

#[derive(Debug, Default)]
pub(crate) struct Pending(Mutex<Vec<PendingInfo>>);

impl Pending {
    fn lock(&self) -> MutexGuard<'_, Vec<PendingInfo>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn list(&self) -> Vec<PendingInfo> {
        self.lock().clone()
    }

    /// Counts a plugin as one that fails until it was [`Pending::settled`].
    pub(crate) fn announce(&self, configured: &Configured, since: Timestamp) {
        self.lock().push(PendingInfo {
            path: configured.path.clone(),
            // Of a file that cannot be read, nothing is known until it is refused.
            hooks: exported_hooks(&configured.path).unwrap_or_default(),
            since,
            refused: None,
            weight: configured.weight,
            mode: configured.mode,
        });
    }

    /// Whether a plugin is still being loaded.
    pub(crate) fn is_loading(&self, path: &Path) -> bool {
        self.lock().iter().any(|pending| pending.path == path && pending.refused.is_none())
    }

    /// Says what became of loading a plugin. One that cannot be loaded stays, for people.
    pub(crate) fn settled(&self, path: &Path, became: Result<(), &LoadError>) {
        let mut all = self.lock();
        let Some(position) = all.iter().position(|pending| pending.path == path) else { return };
        match became {
            Ok(()) => drop(all.remove(position)),
            Err(error) => {
                if let Some(pending) = all.get_mut(position) {
                    pending.refused = Some(error.reason.to_string());
                }
            }
        }
    }

    /// Forgets those that are not configured any more.
    pub(crate) fn keep(&self, configured: &[Configured]) {
        self.lock().retain(|pending| configured.iter().any(|c| c.path == pending.path));
    }

    /// What is answered in the place of those whose answers would count.
    pub(crate) fn answers<A>(&self, hook: Hook) -> Vec<PolicyAnswer<A>> {
        let all = self.lock();
        let counting = all.iter().filter(|p| p.mode == Mode::Active && p.hooks.contains(&hook));
        counting.map(PendingInfo::answer).collect()
    }
}

impl PendingInfo {
    /// What it is called by whoever does not know its name yet.
    #[must_use]
    pub fn name(&self) -> String {
        self.path.file_stem().map(|stem| tame(&stem.to_string_lossy(), 64)).unwrap_or_default()
    }

    fn answer<A>(&self) -> PolicyAnswer<A> {
        let failure = |class: &str, message: &str| PolicyFailure {
            class: class.to_owned(),
            message: message.to_owned(),
        };
        PolicyAnswer {
            policy: self.name(),
            digest: String::new(),
            weight: self.weight,
            shadow: false,
            answer: Err(match &self.refused {
                None => failure("loading", "it is still being compiled"),
                Some(why) => failure("not-loaded", why),
            }),
            evidence: Evidence::default(),
        }
    }
}
