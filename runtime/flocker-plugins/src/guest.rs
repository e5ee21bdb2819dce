//! Instances of a component, and the one way into them: every entry is guarded by fuel, wall clock, memory and a budget
//! for what crosses the border. An instance that trapped is gone; the type system sees to that.

use std::{sync::Arc, time::Duration};

use flocker_model::Timestamp;
use flocker_planner::PolicyFailure;
use wasmtime::{
    Store, Trap, WasmBacktrace,
    component::{Component, Instance, InstancePre, Linker, Resource},
};

use crate::{
    bindings::{
        exports::flocker::plugin::{backup_schedule, failover, lifecycle, placement, rebalance},
        flocker::plugin::types,
    },
    chatter::{Chatter, tame},
    contract::Hook,
    engine::Limits,
    hooks::{Ask, Entry},
    own_limits::{Limit, advice},
    state::State,
    view::{Seen, Source, Unseen},
    watchdog::{TICK, Watchdog},
};

/// The longest message of a plugin's that is kept.
const MESSAGE_CHARS_MAX: usize = 400;

/// All the time and randomness that a call gets.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Moment {
    pub(crate) now: Timestamp,
    pub(crate) seed: u64,
}

/// What instances are made from.
#[derive(Clone)]
pub(crate) struct Blueprint {
    pre: InstancePre<State>,
    exports: Indices,
    limits: Limits,
    watchdog: Arc<Watchdog>,
    chatter: Chatter,
    wasi: bool,
}

/// Where in a component its exports are.
#[derive(Clone)]
struct Indices {
    lifecycle: lifecycle::GuestIndices,
    placement: Option<placement::GuestIndices>,
    rebalance: Option<rebalance::GuestIndices>,
    backups: Option<backup_schedule::GuestIndices>,
    failover: Option<failover::GuestIndices>,
}

/// What an instance exports.
pub(crate) struct Exports {
    pub(crate) lifecycle: lifecycle::Guest,
    pub(crate) placement: Option<placement::Guest>,
    pub(crate) rebalance: Option<rebalance::Guest>,
    pub(crate) backups: Option<backup_schedule::Guest>,
    pub(crate) failover: Option<failover::Guest>,
}

impl Indices {
    fn new(pre: &InstancePre<State>, hooks: &[Hook]) -> wasmtime::Result<Self> {
        let has = |hook: Hook| hooks.contains(&hook);
        let placement = has(Hook::Placement).then(|| placement::GuestIndices::new(pre));
        let rebalance = has(Hook::Rebalance).then(|| rebalance::GuestIndices::new(pre));
        let backups = has(Hook::BackupSchedule).then(|| backup_schedule::GuestIndices::new(pre));
        let failover = has(Hook::Failover).then(|| failover::GuestIndices::new(pre));
        Ok(Self {
            lifecycle: lifecycle::GuestIndices::new(pre)?,
            placement: placement.transpose()?,
            rebalance: rebalance.transpose()?,
            backups: backups.transpose()?,
            failover: failover.transpose()?,
        })
    }

    fn load(&self, store: &mut Store<State>, instance: &Instance) -> wasmtime::Result<Exports> {
        Ok(Exports {
            lifecycle: self.lifecycle.load(&mut *store, instance)?,
            placement: self
                .placement
                .as_ref()
                .map(|i| i.load(&mut *store, instance))
                .transpose()?,
            rebalance: self
                .rebalance
                .as_ref()
                .map(|i| i.load(&mut *store, instance))
                .transpose()?,
            backups: self.backups.as_ref().map(|i| i.load(&mut *store, instance)).transpose()?,
            failover: self.failover.as_ref().map(|i| i.load(&mut *store, instance)).transpose()?,
        })
    }
}

/// One instance.
pub(crate) struct Guest {
    store: Store<State>,
    exports: Exports,
    calls: u64,
}

/// What a call used up and was shown.
#[derive(Debug, Default)]
pub(crate) struct Spent {
    pub(crate) fuel: u64,
    pub(crate) seen: Arc<Seen>,
}

impl Blueprint {
    /// Checks the types of imports and exports. Runs nothing.
    pub(crate) fn new(
        linker: &Linker<State>,
        component: &Component,
        hooks: &[Hook],
        wasi: bool,
        limits: &Limits,
        watchdog: &Arc<Watchdog>,
        chatter: Chatter,
    ) -> wasmtime::Result<Self> {
        let pre = linker.instantiate_pre(component)?;
        let exports = Indices::new(&pre, hooks)?;
        Ok(Self {
            pre,
            exports,
            limits: limits.clone(),
            watchdog: Arc::clone(watchdog),
            chatter,
            wasi,
        })
    }

    pub(crate) fn with_chatter(self, chatter: Chatter) -> Self {
        Self { chatter, ..self }
    }

    /// The same, with other limits: those of one plugin, or of one time.
    pub(crate) fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Makes an instance. Start functions are the plugin's code too, so this is guarded as every other call is.
    pub(crate) fn start(&self, moment: Moment) -> Result<Guest, PolicyFailure> {
        let mut store =
            Store::new(self.pre.engine(), State::new(&self.limits, self.chatter.clone()));
        store.limiter(|state| &mut state.meter);
        let made = self.guarded(&mut store, moment, self.limits.wall_start, |store| {
            let instance = self.pre.instantiate(&mut *store)?;
            self.exports.load(store, &instance)
        });
        made.map(|exports| Guest { store, exports, calls: 0 })
    }

    /// Makes an instance and gives it its settings.
    pub(crate) fn start_configured(
        &self,
        moment: Moment,
        settings: &str,
    ) -> Result<Guest, PolicyFailure> {
        let guest = self.start(moment)?;
        let configure = |store: &mut Store<State>, exports: &Exports| {
            exports.lifecycle.call_configure(store, settings)
        };
        let (guest, _, done) = self.call_within(guest, moment, self.limits.wall_start, configure);
        done?;
        // A guest that said yes is alive.
        guest.ok_or_else(|| PolicyFailure {
            class: "trap".into(),
            message: "it is gone after configuring".into(),
        })
    }

    /// Puts a question to an instance and gives it back, unless it trapped or is due to be replaced.
    pub(crate) fn ask<Q: Ask>(
        &self,
        guest: Guest,
        context: &types::Context,
        source: &Source,
        question: &Q,
    ) -> (Option<Guest>, Spent, Result<Q::Verdict, PolicyFailure>) {
        let moment = Moment { now: Timestamp(context.now_ms), seed: context.seed };
        self.call(guest, moment, |store, exports| {
            store.data_mut().seen.generation = context.generation;
            let lent = store.data_mut().lend(source)?;
            let rep = lent.rep();
            let verdict = question.put(Entry { store, exports, context, view: lent })?;
            store.data_mut().take_back(Resource::new_own(rep))?;
            Ok(verdict)
        })
    }

    /// Calls into an instance and gives it back, unless it trapped or is due to be replaced.
    pub(crate) fn call<T>(
        &self,
        guest: Guest,
        moment: Moment,
        enter: impl FnOnce(&mut Store<State>, &Exports) -> wasmtime::Result<Result<T, types::Failure>>,
    ) -> (Option<Guest>, Spent, Result<T, PolicyFailure>) {
        self.call_within(guest, moment, self.limits.wall, enter)
    }

    fn call_within<T>(
        &self,
        mut guest: Guest,
        moment: Moment,
        wall: Duration,
        enter: impl FnOnce(&mut Store<State>, &Exports) -> wasmtime::Result<Result<T, types::Failure>>,
    ) -> (Option<Guest>, Spent, Result<T, PolicyFailure>) {
        let exports = &guest.exports;
        let result = self.guarded(&mut guest.store, moment, wall, |store| enter(store, exports));
        guest.calls += 1;
        let fuel = self.limits.fuel.saturating_sub(guest.store.get_fuel().unwrap_or(0));
        let state = guest.store.data_mut();
        let seen = Arc::new(std::mem::take(&mut state.seen));
        state.before = Arc::clone(&seen);
        let spent = Spent { fuel, seen };
        match result {
            Ok(Ok(answer)) => {
                // Configuring it was a call, and no question.
                let again = guest.calls <= self.limits.calls_per_instance;
                (again.then_some(guest), spent, Ok(answer))
            }
            // It said no in an orderly way: nothing is wrong with the instance.
            Ok(Err(refused)) => (Some(guest), spent, Err(refusal(&refused))),
            Err(failure) => (None, spent, Err(failure)),
        }
    }

    /// Sets every limit, enters, and names what went wrong.
    fn guarded<T>(
        &self,
        store: &mut Store<State>,
        moment: Moment,
        wall: Duration,
        enter: impl FnOnce(&mut Store<State>) -> wasmtime::Result<T>,
    ) -> Result<T, PolicyFailure> {
        let broken =
            |e: wasmtime::Error| PolicyFailure { class: "trap".into(), message: format!("{e:#}") };
        store.set_fuel(self.limits.fuel).map_err(broken)?;
        let ticks = u64::try_from(wall.as_millis() / TICK.as_millis()).unwrap_or(u64::MAX / 2);
        // One more, as the first tick may be due at once.
        store.set_epoch_deadline(ticks + 1);
        store.set_hostcall_fuel(self.limits.crossing_bytes);
        let state = store.data_mut();
        state.now = moment.now;
        state.meter.refused = None;
        state.noted = 0;
        if self.wasi {
            state.wasi = crate::wasi::context(moment.now, moment.seed, &self.chatter);
        }
        self.chatter.call_starts();
        let watch = self.watchdog.watch();
        let result = enter(store);
        drop(watch);
        let result = result.map_err(|error| self.name(&error, store.data(), wall));
        self.chatter.call_ends();
        result
    }

    /// What an error means to an operator.
    fn name(&self, error: &wasmtime::Error, state: &State, wall: Duration) -> PolicyFailure {
        let failure = |class: &str, message: String| PolicyFailure { class: class.into(), message };
        if let Some(refused) = &state.meter.refused {
            return failure("memory", refused.clone());
        }
        if let Some(unseen) = error.downcast_ref::<Unseen>() {
            return failure(Unseen::CLASS, unseen.to_string());
        }
        match error.downcast_ref::<Trap>() {
            Some(Trap::OutOfFuel) => failure(
                "fuel",
                format!(
                    "it used up its {} units of fuel{}{}",
                    self.limits.fuel,
                    inside(error),
                    advice(Limit::Fuel(self.limits.fuel))
                ),
            ),
            Some(Trap::Interrupt) => {
                // The time to start is everybody's.
                let advice = if wall == self.limits.wall {
                    advice(Limit::Wall(wall))
                } else {
                    String::new()
                };
                failure(
                    "timeout",
                    format!("it took longer than {} ms{}{advice}", wall.as_millis(), inside(error)),
                )
            }
            Some(trap) => {
                let words = state
                    .chatter
                    .last_words()
                    .map(|w| format!("; it said: {w}"))
                    .unwrap_or_default();
                failure("trap", format!("{trap}{}{words}", inside(error)))
            }
            None => {
                let cause = error.root_cause().to_string();
                // It is not the fuel that operators know.
                if cause.contains("fuel allocated for hostcalls") {
                    let most = self.limits.crossing_bytes >> 20;
                    return failure(
                        "trap",
                        format!("it exchanged more than {most} MiB with its host in one call"),
                    );
                }
                failure("trap", tame(&cause, MESSAGE_CHARS_MAX))
            }
        }
    }
}

impl Guest {
    /// Whether another instance is asked the same as this one just was: after its 4th, 8th, 16th… call, so that an early
    /// lie is found early and a long life costs little. Configuring it was the first call.
    pub(crate) fn is_due_for_comparison(&self) -> bool {
        self.calls >= 4 && self.calls.is_power_of_two()
    }

    /// What the plugin measured so far.
    pub(crate) fn metrics(&self) -> &std::collections::BTreeMap<String, f64> {
        &self.store.data().metrics
    }
}

/// The innermost functions that have names, for the author.
pub(crate) fn inside(error: &wasmtime::Error) -> String {
    let Some(trace) = error.downcast_ref::<WasmBacktrace>() else { return String::new() };
    let names: Vec<_> =
        trace.frames().iter().filter_map(|f| f.func_name()).take(3).map(|n| tame(n, 80)).collect();
    if names.is_empty() { String::new() } else { format!(" in `{}`", names.join("` called by `")) }
}

/// An error that the plugin returned.
fn refusal(failure: &types::Failure) -> PolicyFailure {
    let message = tame(&failure.message, MESSAGE_CHARS_MAX);
    PolicyFailure { class: "refused".into(), message: format!("{message} (code {})", failure.code) }
}
