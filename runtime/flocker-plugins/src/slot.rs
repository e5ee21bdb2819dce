//! A place in the order of plugins: the build that is there now, the one before it, and the one that wants to be next;
//! who of them is asked, and whose answer counts.

use std::{hash::Hash, sync::Arc};

use flocker_model::Timestamp;
use flocker_planner::PolicyAnswer;

use crate::{
    breaker::Admission,
    contract::Hook,
    plugin::{Mode, Plugin, PluginInfo},
    upgrade::Trial,
};

/// Up to three builds of one plugin.
#[derive(Clone)]
pub(crate) struct Slot {
    /// What is there now.
    pub(crate) current: Arc<Plugin>,
    /// What was there before, for when the present build keeps failing.
    pub(crate) previous: Option<Arc<Plugin>>,
    /// What wants to be there.
    pub(crate) trial: Option<Arc<Trial>>,
    /// Why the file as it is now is not even tried out.
    pub(crate) refused: Option<String>,
}

/// Somebody who is asked.
pub(crate) struct Seat {
    pub(crate) plugin: Arc<Plugin>,
    pub(crate) part: Part,
}

/// What an answer is good for.
pub(crate) enum Part {
    /// It counts, if the plugin's mode says so.
    Counts,
    /// It shows whether a build in quarantine answers again; the build before it counts meanwhile.
    Probe,
    /// It is compared with that of the seat at this position, where the present build has an opinion at all.
    Trial { trial: Arc<Trial>, beside: Option<usize> },
}

impl Seat {
    /// Whether nobody acts on the answer.
    pub(crate) fn is_shadow(&self) -> bool {
        match self.part {
            Part::Counts => self.plugin.mode == Mode::Shadow,
            Part::Probe | Part::Trial { .. } => true,
        }
    }
}

impl Slot {
    pub(crate) fn new(plugin: Plugin) -> Self {
        Self { current: Arc::new(plugin), previous: None, trial: None, refused: None }
    }

    /// Lets a build take the present one's place, which stays at hand.
    pub(crate) fn replace(&mut self, plugin: Arc<Plugin>) {
        (self.trial, self.refused) = (None, None);
        let former = std::mem::replace(&mut self.current, plugin);
        let (from, to) = (&former.loaded.digest, &self.current.loaded.digest);
        tracing::info!(plugin = %self.current.loaded.name, %from, %to, "plugin replaced");
        self.previous = Some(former);
    }

    /// Whether the build that is tried out has earned the place.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        self.trial.as_ref().is_some_and(|trial| trial.is_over(now))
    }

    pub(crate) fn info(&self) -> PluginInfo {
        let trial = self.trial.as_ref().map(|trial| trial.info());
        PluginInfo { trial, refused: self.refused.clone(), ..self.current.info() }
    }

    /// Takes the seats of its builds that have an opinion on such questions.
    pub(crate) fn sit_down(&self, hook: Hook, now: Timestamp, seats: &mut Vec<Seat>) {
        if self.current.mode == Mode::Off {
            return;
        }
        let has = |plugin: &&Arc<Plugin>| plugin.loaded.hooks.contains(&hook);
        let mut sit = |plugin: &Arc<Plugin>, part| {
            seats.push(Seat { plugin: Arc::clone(plugin), part });
            seats.len() - 1
        };
        let previous = self.previous.as_ref().filter(has);
        let beside = match (self.current.admission(now), previous) {
            (Admission::Refuse { .. }, Some(previous)) => Some(sit(previous, Part::Counts)),
            (Admission::Probe, Some(previous)) => {
                if has(&&self.current) {
                    sit(&self.current, Part::Probe);
                }
                Some(sit(previous, Part::Counts))
            }
            (Admission::Ask | Admission::Probe | Admission::Refuse { .. }, _) => {
                has(&&self.current).then(|| sit(&self.current, Part::Counts))
            }
        };
        if let Some(trial) = self.trial.as_ref().filter(|t| t.is_asked() && has(&&t.plugin)) {
            sit(&trial.plugin, Part::Trial { trial: Arc::clone(trial), beside });
        }
    }
}

/// What a decision is about, see [`crate::hooks::Ask::subject`], and when it is made.
pub(crate) struct About {
    pub(crate) subject: (&'static str, Vec<u8>),
    pub(crate) now: Timestamp,
}

/// Counts whose answers in shadow would have led to something else: those of plugins in shadow alone, those of a new
/// build in the place of the present one's. What is decided over and over counts once. `about` is called only where
/// somebody is in shadow: telling questions apart costs as much as many a policy.
pub(crate) fn compare<A: Clone, D: Hash + PartialEq>(
    about: impl FnOnce() -> About,
    seats: &[Seat],
    answers: &[PolicyAnswer<A>],
    decide: &dyn Fn(Vec<PolicyAnswer<A>>) -> D,
) {
    if answers.iter().all(|a| !a.shadow) {
        return;
    }
    let about = about();
    let counting = |a: &&PolicyAnswer<A>| !a.shadow;
    let decided = decide(answers.iter().filter(counting).cloned().collect());
    for (seat, answer) in seats.iter().zip(answers).filter(|(_, answer)| answer.shadow) {
        let counts = PolicyAnswer { shadow: false, ..answer.clone() };
        match &seat.part {
            Part::Counts => {
                if answer.answer.is_ok() {
                    seat.plugin.decided_in_shadow(&about, &decided, &decide(vec![counts]));
                }
            }
            Part::Probe => {}
            Part::Trial { trial, beside } => {
                let would_be = decide(instead(answers, *beside, counts));
                trial.decided(&about, answer.answer.as_ref().map(drop), &decided, &would_be);
                if let Err(failure) = &answer.answer {
                    tracing::error!(plugin = %answer.policy, digest = %answer.digest, class = %failure.class, "the new build failed in shadow and is not used: {}", failure.message);
                }
            }
        }
    }
}

/// The answers that count, with one in the place of another.
fn instead<A: Clone>(
    answers: &[PolicyAnswer<A>],
    beside: Option<usize>,
    other: PolicyAnswer<A>,
) -> Vec<PolicyAnswer<A>> {
    let mut counting: Vec<_> = answers
        .iter()
        .enumerate()
        .filter(|(_, a)| !a.shadow)
        .map(|(at, a)| (at, a.clone()))
        .collect();
    match counting.iter_mut().find(|(at, _)| Some(*at) == beside) {
        Some((_, answer)) => *answer = other,
        None => counting.push((answers.len(), other)),
    }
    counting.into_iter().map(|(_, answer)| answer).collect()
}
