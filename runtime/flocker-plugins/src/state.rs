//! What the host keeps for one instance of a plugin, and what the plugin may ask it beside the cluster: the log, metrics.

use std::{collections::BTreeMap, sync::Arc};

use flocker_model::{ByteSize, Timestamp};
use tracing::Level;
use wasmtime::{
    ResourceLimiter,
    component::{HasSelf, Linker, Resource, ResourceTable},
};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::{
    bindings::flocker::plugin::{log, metrics, types},
    chatter::{Chatter, tame},
    engine::Limits,
    own_limits::{Limit, advice},
    view::{Seen, Source, View},
};

/// Metrics of one plugin.
const METRICS_MAX: usize = 64;
/// Handles (streams, pollables, views) that one instance may hold.
const HANDLES_MAX: usize = 1000;

/// All that belongs to one instance.
pub(crate) struct State {
    pub(crate) table: ResourceTable,
    pub(crate) wasi: WasiCtx,
    pub(crate) now: Timestamp,
    pub(crate) chatter: Chatter,
    pub(crate) meter: Meter,
    /// What it was shown in this call, and how much of that counts towards its limit.
    pub(crate) seen: Seen,
    pub(crate) noted: usize,
    /// What it was shown in the call before.
    pub(crate) before: Arc<Seen>,
    pub(crate) metrics: BTreeMap<String, f64>,
}

impl State {
    pub(crate) fn new(limits: &Limits, chatter: Chatter) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(HANDLES_MAX);
        Self {
            table,
            wasi: crate::wasi::context(Timestamp(0), 0, &chatter),
            now: Timestamp(0),
            chatter,
            meter: Meter::new(limits),
            seen: Seen::default(),
            noted: 0,
            before: Arc::default(),
            metrics: BTreeMap::new(),
        }
    }

    /// Makes a handle for the cluster; [`State::take_back`] ends it.
    pub(crate) fn lend(&mut self, source: &Source) -> wasmtime::Result<Resource<View>> {
        Ok(self.table.push(View(source.clone()))?)
    }

    /// Ends a loan.
    pub(crate) fn take_back(&mut self, view: Resource<View>) -> wasmtime::Result<()> {
        self.table.delete(view)?;
        Ok(())
    }
}

impl types::Host for State {}

impl log::Host for State {
    fn enabled(&mut self, at: log::Level) -> wasmtime::Result<bool> {
        // Not the daemon's real level: the answer would depend on how it was started, and a replay on another machine.
        Ok(match at {
            log::Level::Trace | log::Level::Debug => false,
            log::Level::Info | log::Level::Warn | log::Level::Error => true,
        })
    }

    fn write(
        &mut self,
        at: log::Level,
        message: String,
        fields: Vec<(String, String)>,
    ) -> wasmtime::Result<()> {
        let level = match at {
            log::Level::Trace => Level::TRACE,
            log::Level::Debug => Level::DEBUG,
            log::Level::Info => Level::INFO,
            log::Level::Warn => Level::WARN,
            log::Level::Error => Level::ERROR,
        };
        let fields = fields.iter().map(|(key, value)| format!(" {key}={value}"));
        self.chatter.say(level, &std::iter::once(message).chain(fields).collect::<String>());
        Ok(())
    }
}

impl metrics::Host for State {
    fn counter_add(&mut self, name: String, value: u64) -> wasmtime::Result<()> {
        #[expect(clippy::cast_precision_loss, reason = "metrics are floats everywhere")]
        self.metric(&name, |old| old + value as f64);
        Ok(())
    }

    fn gauge_set(&mut self, name: String, value: f64) -> wasmtime::Result<()> {
        self.metric(&name, |_| value);
        Ok(())
    }
}

impl State {
    /// Names beyond the limit are dropped: a plugin that makes up names must not fill the memory.
    fn metric(&mut self, name: &str, change: impl FnOnce(f64) -> f64) {
        let name = tame(name, 100);
        if self.metrics.contains_key(&name) || self.metrics.len() < METRICS_MAX {
            let value = self.metrics.entry(name).or_insert(0.0);
            *value = change(*value);
        }
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// Says no to memory and tables beyond the limit, and remembers that it did.
pub(crate) struct Meter {
    memory_max: usize,
    memory: usize,
    table_max: usize,
    table: usize,
    instances_max: usize,
    /// What was refused in this call.
    pub(crate) refused: Option<String>,
}

impl Meter {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            memory_max: limits.memory_bytes,
            memory: 0,
            table_max: limits.table_entries,
            table: 0,
            instances_max: limits.instances,
            refused: None,
        }
    }

    fn refuse(&mut self, what: String) -> wasmtime::Result<bool> {
        self.refused = Some(what.clone());
        // An error and not `false`: guests that are told "no" only abort, and then nobody knows why.
        Err(wasmtime::Error::msg(what))
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _max: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let total = self.memory.saturating_add(desired.saturating_sub(current));
        if total > self.memory_max {
            return self.refuse(format!(
                "it asked for {total} bytes of memory, the limit is {}{}",
                self.memory_max,
                advice(Limit::Memory(ByteSize(self.memory_max as u64)))
            ));
        }
        self.memory = total;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _max: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let total = self.table.saturating_add(desired.saturating_sub(current));
        if total > self.table_max {
            return self.refuse(format!(
                "it asked for {total} table entries, the limit is {}",
                self.table_max
            ));
        }
        self.table = total;
        Ok(true)
    }

    fn instances(&self) -> usize {
        self.instances_max
    }
}

/// Everything that a policy may import.
pub(crate) fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    crate::wasi::link(&mut linker)?;
    types::add_to_linker::<State, HasSelf<State>>(&mut linker, |s| s)?;
    crate::view::link(&mut linker)?;
    log::add_to_linker::<State, HasSelf<State>>(&mut linker, |s| s)?;
    metrics::add_to_linker::<State, HasSelf<State>>(&mut linker, |s| s)?;
    Ok(linker)
}
