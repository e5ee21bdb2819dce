//! The one way into a backend's instances: every entry is guarded by a timeout, computing time, memory and a budget for
//! what crosses the border. An instance that failed is dropped, and the same request is made to a fresh one.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use flocker_planner::PolicyFailure;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};
use wasmtime::{Store, Trap, UpdateDeadline, component::Component};

use super::{
    bindings::{Backend as Exports, BackendPre, flocker::plugin::types},
    questions::{Ask, Configure},
    state::{self, Shared, State},
};
use crate::{chatter::tame, guest::inside, watchdog::Watchdog};

/// The longest message of a plugin's that is kept.
const MESSAGE_CHARS_MAX: usize = 400;
/// Who waits less than this did not give up because of the plugin. Observing a node takes a second at most.
const GIVEN_UP_AFTER: Duration = Duration::from_millis(500);
/// Instances that wait for the next call. More would only keep memory.
const IDLE_MAX: usize = 8;

/// What went wrong with a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It said no, in an orderly way.
    Refused { code: u32, message: String },
    /// It trapped, took too long, or did something else that ends an instance.
    Broken { class: &'static str, message: String },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { code: 0, message } => f.write_str(message),
            Self::Refused { code, message } => write!(f, "{message} (code {code})"),
            Self::Broken { class, message } => write!(f, "{message} ({class})"),
        }
    }
}

/// How often it was called, and how that went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) calls: u64,
    pub(crate) failures: u64,
    pub(crate) last_failure: Option<String>,
    /// Functions that broke it when they were last called, and how.
    pub(crate) broken: BTreeMap<&'static str, String>,
}

/// Somebody who waits for an answer, and may give up.
struct Waiting<'a> {
    plugin: &'a Plugin,
    function: &'static str,
    began: Instant,
    is_answered: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let waited = self.began.elapsed();
        if !self.is_answered && waited >= GIVEN_UP_AFTER {
            let message = format!("it did not answer within {waited:.1?}");
            self.plugin.note_failure(self.function, broken("timeout", message));
        }
    }
}

/// A backend that can be called, many calls at a time.
pub(crate) struct Plugin {
    pre: BackendPre<State>,
    settings: String,
    watchdog: Arc<Watchdog>,
    pub(crate) shared: Arc<Shared>,
    idle: Mutex<Vec<Instance>>,
    permits: Semaphore,
    count: Mutex<Count>,
}

struct Instance {
    store: Store<State>,
    exports: Exports,
    calls: u64,
}

impl Plugin {
    /// Checks the types of imports and exports. Runs nothing.
    pub(crate) fn new(
        component: &Component,
        watchdog: Arc<Watchdog>,
        settings: &str,
        shared: Shared,
    ) -> wasmtime::Result<Self> {
        let linker = state::linker(component.engine())?;
        Ok(Self {
            pre: BackendPre::new(linker.instantiate_pre(component)?)?,
            settings: settings.to_owned(),
            watchdog,
            permits: Semaphore::new(shared.limits.calls),
            shared: Arc::new(shared),
            idle: Mutex::default(),
            count: Mutex::default(),
        })
    }

    /// Asks, and once more with a fresh instance each time that one breaks.
    pub(crate) async fn ask<Q: Ask>(
        &self,
        wall: Duration,
        question: &Q,
    ) -> Result<Q::Answer, Failure> {
        self.waited_for(Q::FUNCTION, self.ask_again(wall, question)).await
    }

    async fn ask_again<Q: Ask>(&self, wall: Duration, question: &Q) -> Result<Q::Answer, Failure> {
        let mut attempt = 1;
        loop {
            let result = self.attempt(wall, question).await;
            self.note(Q::FUNCTION, &result);
            match result {
                Err(Failure::Broken { class, message })
                    if attempt < self.shared.limits.attempts =>
                {
                    let plugin = &self.shared.name;
                    tracing::warn!(%plugin, function = Q::FUNCTION, attempt, class, "plugin failed and is asked again: {message}");
                    attempt += 1;
                }
                other => return other,
            }
        }
    }

    async fn attempt<Q: Ask>(&self, wall: Duration, question: &Q) -> Result<Q::Answer, Failure> {
        let guarded = async {
            let (_permit, _watch) = (self.permit().await?, self.watchdog.watch());
            let taken = lock(&self.idle).pop();
            let mut instance = match taken {
                Some(instance) => instance,
                None => self.start_configured().await?,
            };
            let answer = self.enter(&mut instance, question).await?;
            self.give_back(instance);
            answer.map_err(refusal)
        };
        within(wall, guarded).await
    }

    /// Asks an instance that was not given its settings and is not used again.
    pub(crate) async fn ask_unconfigured<Q: Ask>(
        &self,
        wall: Duration,
        question: &Q,
    ) -> Result<Q::Answer, Failure> {
        let guarded = async {
            let (_permit, _watch) = (self.permit().await?, self.watchdog.watch());
            let mut instance = self.start().await?;
            self.enter(&mut instance, question).await?.map_err(refusal)
        };
        within(wall, guarded).await
    }

    async fn permit(&self) -> Result<SemaphorePermit<'_>, Failure> {
        let closed = |e: tokio::sync::AcquireError| broken("host", e.to_string());
        self.permits.acquire().await.map_err(closed)
    }

    /// With every limit full again.
    async fn enter<Q: Ask>(
        &self,
        instance: &mut Instance,
        question: &Q,
    ) -> Result<Result<Q::Answer, types::Failure>, Failure> {
        refill(&mut instance.store, &self.shared);
        let entered = question.put(&mut instance.store, &instance.exports).await;
        let state = instance.store.data();
        state.chatter.call_ends();
        entered.map_err(|error| self.explain(&error, state))
    }

    /// Makes an instance and gives it its settings.
    async fn start_configured(&self) -> Result<Instance, Failure> {
        let mut instance = self.start().await?;
        let configured = self.enter(&mut instance, &Configure(&self.settings)).await?;
        configured.map_err(|refused| Failure::Refused {
            code: refused.code,
            message: format!(
                "it does not take its settings: {}",
                tame(&refused.message, MESSAGE_CHARS_MAX)
            ),
        })?;
        Ok(instance)
    }

    /// Makes an instance. Start functions are the plugin's code too.
    async fn start(&self) -> Result<Instance, Failure> {
        let state = State::new(&self.shared).map_err(|e| broken("host", format!("{e:#}")))?;
        let mut store = Store::new(self.pre.engine(), state);
        store.limiter(|state| &mut state.meter);
        store.epoch_deadline_callback(|mut context| {
            let state = context.data_mut();
            state.ticks += 1;
            if state.ticks > state.shared.limits.ticks() {
                return Ok(UpdateDeadline::Interrupt);
            }
            // Others get their turn.
            Ok(UpdateDeadline::Yield(1))
        });
        refill(&mut store, &self.shared);
        let made = self.pre.instantiate_async(&mut store).await;
        let exports = made.map_err(|error| self.explain(&error, store.data()))?;
        Ok(Instance { store, exports, calls: 0 })
    }

    fn give_back(&self, mut instance: Instance) {
        instance.calls += 1;
        let mut idle = lock(&self.idle);
        if instance.calls < self.shared.limits.calls_per_instance && idle.len() < IDLE_MAX {
            idle.push(instance);
        }
    }

    fn note<T>(&self, function: &'static str, result: &Result<T, Failure>) {
        let mut count = lock(&self.count);
        count.calls += 1;
        match result {
            Err(failure @ Failure::Broken { .. }) => {
                drop(count);
                self.note_failure(function, failure.clone());
            }
            Err(Failure::Refused { .. }) | Ok(_) => drop(count.broken.remove(function)),
        }
    }

    /// An answer came that is none.
    pub(crate) fn note_wrong(&self, function: &'static str, reason: &str) {
        self.note_failure(function, broken("invalid-answer", reason.to_owned()));
    }

    fn note_failure(&self, function: &'static str, failure: Failure) {
        let mut count = lock(&self.count);
        count.failures += 1;
        count.last_failure = Some(format!("`{function}`: {failure}"));
        count.broken.insert(function, failure.to_string());
    }

    /// Waits for what a function answers. Where whoever asked gives up, that is noted: else nobody could tell why.
    pub(crate) async fn waited_for<T>(
        &self,
        function: &'static str,
        asked: impl Future<Output = T>,
    ) -> T {
        let mut waiting =
            Waiting { plugin: self, function, began: Instant::now(), is_answered: false };
        let answer = asked.await;
        waiting.is_answered = true;
        answer
    }

    pub(crate) fn count(&self) -> Count {
        lock(&self.count).clone()
    }

    /// What an error means to an operator.
    fn explain(&self, error: &wasmtime::Error, state: &State) -> Failure {
        if let Some(refused) = &state.meter.refused {
            return broken("memory", refused.clone());
        }
        let inside = inside(error);
        match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => {
                let cpu = self.shared.limits.cpu;
                broken("timeout", format!("it computed for longer than {cpu:?}{inside}"))
            }
            Some(trap) => {
                let words = state.chatter.last_words();
                let words = words.map(|w| format!("; it said: {w}")).unwrap_or_default();
                broken("trap", format!("{trap}{inside}{words}"))
            }
            None => broken("trap", tame(&error.root_cause().to_string(), MESSAGE_CHARS_MAX)),
        }
    }
}

impl Failure {
    /// The same, as failures of policies are said.
    pub(crate) fn into_policy_failure(self) -> PolicyFailure {
        let (class, message) = match self {
            Self::Refused { .. } => ("refused", self.to_string()),
            Self::Broken { class, message } => (class, message),
        };
        PolicyFailure { class: class.into(), message }
    }
}

fn broken(class: &'static str, message: String) -> Failure {
    Failure::Broken { class, message }
}

fn refusal(refused: types::Failure) -> Failure {
    let message = tame(&refused.message, MESSAGE_CHARS_MAX);
    Failure::Refused { code: refused.code, message }
}

/// Gives up after a time. The instance is inside the future, and goes with it.
async fn within<T>(
    wall: Duration,
    guarded: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let late = |_| Err(broken("timeout", format!("it took longer than {wall:?}")));
    timeout(wall, guarded).await.unwrap_or_else(late)
}

/// Every limit is full again.
fn refill(store: &mut Store<State>, shared: &Shared) {
    store.set_epoch_deadline(1);
    store.set_hostcall_fuel(shared.limits.crossing_bytes);
    let state = store.data_mut();
    state.ticks = 0;
    state.meter.refused = None;
    state.chatter.call_starts();
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is inside is changed in one go.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
