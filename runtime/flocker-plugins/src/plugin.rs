//! One loaded plugin: a warm instance, a breaker, and what is known about how it behaves.

use std::{
    collections::BTreeMap,
    hash::Hash,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use flocker_model::Timestamp;
use flocker_planner::{Evidence, PolicyAnswer, PolicyFailure};

use crate::{
    bindings::flocker::plugin::types,
    breaker::{Admission, Breaker},
    contract::Hook,
    guest::{Blueprint, Guest, Moment, Spent},
    hooks::Ask,
    own_limits::OwnLimits,
    record::{self, Asked, Recorder},
    repeats::Repeats,
    slot::About,
    upgrade::TrialInfo,
    view::Source,
};

/// What was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// What it calls itself.
    pub name: String,
    /// The version it gives itself.
    pub version: String,
    /// `sha256:…` of the file.
    pub digest: String,
    /// The hooks that it exports. See [`Hook::is_used`].
    pub hooks: Vec<Hook>,
    /// A JSON schema of its settings, as it gave it; empty where it gave none.
    pub settings_schema: String,
}

/// How a plugin stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It answered when it was last asked, or was not asked yet.
    Good,
    /// It failed when it was last asked.
    Failing,
    /// It failed so often that it is left alone until then.
    Quarantined { until: Timestamp },
}

/// How much a plugin has to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// It is asked, and its answers count.
    #[default]
    Active,
    /// It is asked, its answers are compared with those that count, and nobody acts on them.
    Shadow,
    /// It is loaded and not asked.
    Off,
}

impl Mode {
    /// As operators write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Shadow => "shadow",
            Self::Off => "off",
        }
    }
}

impl std::str::FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Active, Self::Shadow, Self::Off]
            .into_iter()
            .find(|mode| mode.as_str() == text)
            .ok_or_else(|| format!("`{text}` is none of active, shadow, off"))
    }
}

/// A plugin, for `flocker plugin ls`.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginInfo {
    /// Name, version, digest, hooks.
    pub loaded: Loaded,
    /// Where it was loaded from.
    pub path: PathBuf,
    /// How much it counts.
    pub weight: u32,
    /// Whether its answers count.
    pub mode: Mode,
    /// What it may use up, where that is not what the others may.
    pub limits: OwnLimits,
    /// How it stands.
    pub health: Health,
    /// How often it was asked.
    pub calls: u64,
    /// How often it failed.
    pub failures: u64,
    /// How many different decisions its answer in shadow would have changed.
    pub disagreements: u64,
    /// Fuel of the last call and of the most expensive one.
    pub fuel_last: u64,
    /// Fuel of the most expensive call.
    pub fuel_max: u64,
    /// The slowest call.
    pub took_max: Duration,
    /// The last failure, and when it was.
    pub last_failure: Option<(Timestamp, PolicyFailure)>,
    /// What it measured itself, since its instance was made.
    pub metrics: BTreeMap<String, f64>,
    /// A new build that wants its place.
    pub trial: Option<TrialInfo>,
    /// Why its file as it is now cannot be used, if that is so.
    pub refused: Option<String>,
}

pub(crate) struct Plugin {
    pub(crate) loaded: Loaded,
    pub(crate) path: PathBuf,
    pub(crate) weight: u32,
    pub(crate) mode: Mode,
    pub(crate) limits: OwnLimits,
    pub(crate) settings: Arc<str>,
    pub(crate) blueprint: Blueprint,
    pub(crate) warm: Mutex<Warm>,
}

/// What is the same for all plugins that are asked the same.
pub(crate) struct Asking<'a> {
    pub(crate) context: types::Context,
    pub(crate) source: &'a Source,
    pub(crate) recorder: Option<&'a Recorder>,
}

/// What changes with each call.
pub(crate) struct Warm {
    guest: Option<Guest>,
    breaker: Breaker,
    calls: u64,
    failures: u64,
    disagreements: u64,
    repeats: Repeats,
    fuel_last: u64,
    fuel_max: u64,
    took_max: Duration,
    failing: bool,
    last_failure: Option<(Timestamp, PolicyFailure)>,
    metrics: BTreeMap<String, f64>,
}

impl Warm {
    pub(crate) fn new(guest: Guest) -> Self {
        Self {
            guest: Some(guest),
            breaker: Breaker::new(),
            calls: 0,
            failures: 0,
            disagreements: 0,
            repeats: Repeats::default(),
            fuel_last: 0,
            fuel_max: 0,
            took_max: Duration::ZERO,
            failing: false,
            last_failure: None,
            metrics: BTreeMap::new(),
        }
    }

    fn account(
        &mut self,
        now: Timestamp,
        spent: &Spent,
        took: Duration,
        failure: Option<&PolicyFailure>,
    ) {
        self.calls += 1;
        self.fuel_last = spent.fuel;
        self.fuel_max = self.fuel_max.max(spent.fuel);
        self.took_max = self.took_max.max(took);
        self.failing = failure.is_some();
        match failure {
            None => self.breaker.answered(),
            Some(failure) => {
                self.breaker.failed(now);
                self.failures += 1;
                self.last_failure = Some((now, failure.clone()));
            }
        }
    }
}

impl Plugin {
    fn lock(&self) -> MutexGuard<'_, Warm> {
        // A panic of the host's while it held an instance has dropped that instance: nothing half-made is left.
        self.warm.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it makes of a question, in shadow if nobody is going to act on it; `read` checks a verdict and says it in the planner's words. Counts its failures, and
    /// leaves it alone when there are too many.
    pub(crate) fn ask<Q: Ask, A>(
        &self,
        asking: &Asking<'_>,
        question: &Q,
        shadow: bool,
        read: &dyn Fn(Q::Verdict) -> Result<A, PolicyFailure>,
    ) -> PolicyAnswer<A> {
        let mut warm = self.lock();
        let now = Timestamp(asking.context.now_ms);
        let (evidence, answer) = match warm.breaker.admit(now) {
            Admission::Ask => self.put(&mut warm, asking, question, shadow, read),
            Admission::Probe => {
                let (evidence, answer) = self.put(&mut warm, asking, question, true, read);
                let probed = |_| {
                    Err(quarantined(
                        "it answers again; its answers count from the next decision on",
                    ))
                };
                (evidence, if shadow { answer } else { answer.and_then(probed) })
            }
            Admission::Refuse { until } => {
                let seconds = until.since(now).as_secs();
                let message = format!("it failed too often and is tried again in {seconds} s");
                (Evidence::default(), Err(quarantined(&message)))
            }
        };
        PolicyAnswer {
            policy: format!("{} {}", self.loaded.name, self.loaded.version),
            digest: self.loaded.digest.clone(),
            weight: self.weight,
            shadow,
            answer,
            evidence,
        }
    }

    fn put<Q: Ask, A>(
        &self,
        warm: &mut Warm,
        asking: &Asking<'_>,
        question: &Q,
        shadow: bool,
        read: &dyn Fn(Q::Verdict) -> Result<A, PolicyFailure>,
    ) -> (Evidence, Result<A, PolicyFailure>) {
        // For the statistics only; no decision depends on it.
        let began = Instant::now();
        let context = types::Context { shadow, ..asking.context.clone() };
        let now = Timestamp(context.now_ms);
        let guest = match warm.guest.take() {
            Some(guest) => Ok(guest),
            None => {
                let moment = Moment { now, seed: context.seed };
                self.blueprint.start_configured(moment, &self.settings)
            }
        };
        let mut compared = false;
        let (spent, verdict) = match guest {
            Ok(guest) => {
                let (guest, spent, verdict) =
                    self.blueprint.ask(guest, &context, asking.source, question);
                if let Some(guest) = &guest {
                    warm.metrics.clone_from(guest.metrics());
                    compared = guest.is_due_for_comparison();
                }
                warm.guest = guest;
                (spent, verdict)
            }
            Err(failure) => (Spent::default(), Err(failure)),
        };
        let took = began.elapsed();
        if let Some(recorder) = asking.recorder {
            let asked = Asked::new(self, &context, question, &spent, &verdict, took);
            recorder.keep(asked, asking.source);
        }
        let verdict = match verdict {
            Ok(verdict) if compared => {
                let same = self.compare(&context, asking.source, question, &verdict);
                // Whatever it remembers goes with it.
                same.inspect_err(|_| warm.guest = None).map(|()| verdict)
            }
            Ok(_) | Err(_) => verdict,
        };
        let answer = verdict.and_then(read);
        warm.account(now, &spent, took, answer.as_ref().err());
        if let Err(failure) = &answer {
            let name = &self.loaded.name;
            tracing::warn!(plugin = %name, class = %failure.class, question = Q::KIND, decision = %context.decision_id, "plugin failed: {}", failure.message);
        }
        (Evidence { columns: spent.seen.names(), fuel: spent.fuel }, answer)
    }

    /// Asks a fresh instance the same. One that answers otherwise remembers what it should not: its answers could be
    /// neither explained nor replayed.
    fn compare<Q: Ask>(
        &self,
        context: &types::Context,
        source: &Source,
        question: &Q,
        verdict: &Q::Verdict,
    ) -> Result<(), PolicyFailure> {
        let moment = Moment { now: Timestamp(context.now_ms), seed: context.seed };
        let fresh = self.blueprint.start_configured(moment, &self.settings)?;
        let (_, _, second) = self.blueprint.ask(fresh, context, source, question);
        if record::bytes(&second?) == record::bytes(verdict) {
            return Ok(());
        }
        let message = "asked the same twice, it answered differently: its answer depends on something that it \
                       remembers, and not on the question alone";
        Err(PolicyFailure { class: "inconsistent".into(), message: message.into() })
    }

    /// Notes down what was decided, and what would have been by its answer in shadow.
    pub(crate) fn decided_in_shadow<D: Hash + PartialEq>(
        &self,
        about: &About,
        decided: &D,
        would_be: &D,
    ) {
        let mut warm = self.lock();
        if warm.repeats.is_news(&about.subject, &(decided, would_be), about.now) {
            warm.disagreements += u64::from(decided != would_be);
        }
    }

    /// Whether it may be asked at this time.
    pub(crate) fn admission(&self, now: Timestamp) -> Admission {
        self.lock().breaker.admit(now)
    }

    /// Whether another one would answer as this one does, and count as much.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let of =
            |p: &Self| (p.loaded.digest.clone(), p.settings.clone(), p.weight, p.mode, p.limits);
        of(self) == of(other)
    }

    pub(crate) fn info(&self) -> PluginInfo {
        let warm = self.lock();
        let health = match warm.breaker.open_until() {
            Some(until) => Health::Quarantined { until },
            None if warm.failing => Health::Failing,
            None => Health::Good,
        };
        PluginInfo {
            loaded: self.loaded.clone(),
            path: self.path.clone(),
            weight: self.weight,
            mode: self.mode,
            limits: self.limits,
            health,
            calls: warm.calls,
            failures: warm.failures,
            disagreements: warm.disagreements,
            fuel_last: warm.fuel_last,
            fuel_max: warm.fuel_max,
            took_max: warm.took_max,
            last_failure: warm.last_failure.clone(),
            metrics: warm.metrics.clone(),
            trial: None,
            refused: None,
        }
    }
}

fn quarantined(message: &str) -> PolicyFailure {
    PolicyFailure { class: "quarantined".into(), message: message.into() }
}
