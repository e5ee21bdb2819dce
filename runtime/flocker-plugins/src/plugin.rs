//! One loaded plugin: a warm instance, a breaker, and what is known about how it behaves.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use flocker_model::Timestamp;
use flocker_planner::{
    Answer, ClusterView, Evidence, PlacementQuestion, PolicyAnswer, PolicyFailure, check,
};

use crate::{
    breaker::{Admission, Breaker},
    contract::Hook,
    guest::{Blueprint, Guest, Moment, Spent},
    placement,
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

/// A plugin, for `flocker plugin ls`.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginInfo {
    /// Name, version, digest, hooks.
    pub loaded: Loaded,
    /// Where it was loaded from.
    pub path: PathBuf,
    /// How much its scores count.
    pub weight: u32,
    /// How it stands.
    pub health: Health,
    /// How often it was asked.
    pub calls: u64,
    /// How often it failed.
    pub failures: u64,
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
}

pub(crate) struct Plugin {
    pub(crate) loaded: Loaded,
    pub(crate) path: PathBuf,
    pub(crate) weight: u32,
    pub(crate) settings: String,
    pub(crate) blueprint: Blueprint,
    pub(crate) warm: Mutex<Warm>,
}

/// What changes with each call.
pub(crate) struct Warm {
    guest: Option<Guest>,
    breaker: Breaker,
    calls: u64,
    failures: u64,
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
        result: &Result<Answer, PolicyFailure>,
    ) {
        self.calls += 1;
        self.fuel_last = spent.fuel;
        self.fuel_max = self.fuel_max.max(spent.fuel);
        self.took_max = self.took_max.max(took);
        self.failing = result.is_err();
        match result {
            Ok(_) => self.breaker.answered(),
            Err(failure) => {
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

    /// What it makes of a question. Counts its failures, and leaves it alone when there are too many.
    pub(crate) fn place(
        &self,
        view: &Arc<ClusterView>,
        question: &PlacementQuestion,
    ) -> PolicyAnswer {
        let mut warm = self.lock();
        let (evidence, answer) = match warm.breaker.admit(view.now) {
            Admission::Ask => self.ask(&mut warm, view, question, false),
            Admission::Probe => {
                let (evidence, answer) = self.ask(&mut warm, view, question, true);
                let probed = |_| {
                    Err(quarantined(
                        "it answers again; its answers count from the next decision on",
                    ))
                };
                (evidence, answer.and_then(probed))
            }
            Admission::Refuse { until } => {
                let seconds = until.since(view.now).as_secs();
                let message = format!("it failed too often and is tried again in {seconds} s");
                (Evidence::default(), Err(quarantined(&message)))
            }
        };
        PolicyAnswer {
            policy: format!("{} {}", self.loaded.name, self.loaded.version),
            digest: self.loaded.digest.clone(),
            weight: self.weight,
            answer,
            evidence,
        }
    }

    fn ask(
        &self,
        warm: &mut Warm,
        view: &Arc<ClusterView>,
        question: &PlacementQuestion,
        shadow: bool,
    ) -> (Evidence, Result<Answer, PolicyFailure>) {
        // For the statistics only; no decision depends on it.
        let began = Instant::now();
        let moment = Moment { now: view.now, seed: question.seed };
        let guest = match warm.guest.take() {
            Some(guest) => Ok(guest),
            None => self.blueprint.start_configured(moment, &self.settings),
        };
        let (spent, answer) = match guest {
            Ok(guest) => {
                let (guest, spent, answer) =
                    placement::ask(&self.blueprint, guest, view, question, shadow);
                if let Some(guest) = &guest {
                    warm.metrics.clone_from(guest.metrics());
                }
                warm.guest = guest;
                (spent, answer.and_then(|a| check(question, &a).map(|()| a)))
            }
            Err(failure) => (Spent::default(), Err(failure)),
        };
        warm.account(view.now, &spent, began.elapsed(), &answer);
        if let Err(failure) = &answer {
            let name = &self.loaded.name;
            tracing::warn!(plugin = %name, class = %failure.class, app = %question.name, "plugin failed: {}", failure.message);
        }
        (Evidence { columns: spent.reads, fuel: spent.fuel }, answer)
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
            health,
            calls: warm.calls,
            failures: warm.failures,
            fuel_last: warm.fuel_last,
            fuel_max: warm.fuel_max,
            took_max: warm.took_max,
            last_failure: warm.last_failure.clone(),
            metrics: warm.metrics.clone(),
        }
    }
}

fn quarantined(message: &str) -> PolicyFailure {
    PolicyFailure { class: "quarantined".into(), message: message.into() }
}
