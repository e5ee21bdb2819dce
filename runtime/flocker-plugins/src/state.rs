//! What the host keeps for one instance of a plugin, and what the plugin may ask it: the cluster, the log, metrics.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use flocker_model::Timestamp;
use flocker_planner::ClusterView;
use tracing::Level;
use wasmtime::{
    ResourceLimiter,
    component::{HasSelf, Linker, Resource, ResourceTable},
};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::{
    bindings::flocker::plugin::{cluster, log, metrics, types},
    chatter::{Chatter, tame},
    columns::{self, Column},
    engine::Limits,
};

/// Different texts that one instance may have seen; names and labels of a large cluster are a tenth of it.
const TEXTS_MAX: usize = 500_000;
/// Metrics of one plugin.
const METRICS_MAX: usize = 64;
/// Handles (streams, pollables, views) that one instance may hold.
const HANDLES_MAX: usize = 1000;

/// The cluster as a resource that a plugin borrows for one call.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct View(pub(crate) Arc<ClusterView>);

/// All that belongs to one instance.
pub(crate) struct State {
    table: ResourceTable,
    pub(crate) wasi: WasiCtx,
    pub(crate) now: Timestamp,
    pub(crate) chatter: Chatter,
    pub(crate) meter: Meter,
    /// Columns read in this call, as `table/column`.
    pub(crate) reads: BTreeSet<String>,
    pub(crate) metrics: BTreeMap<String, f64>,
    texts: Texts,
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
            reads: BTreeSet::new(),
            metrics: BTreeMap::new(),
            texts: Texts::default(),
        }
    }

    /// Makes a handle for the cluster; [`State::take_back`] ends it.
    pub(crate) fn lend(&mut self, view: &Arc<ClusterView>) -> wasmtime::Result<Resource<View>> {
        Ok(self.table.push(View(Arc::clone(view)))?)
    }

    /// Ends a loan.
    pub(crate) fn take_back(&mut self, view: Resource<View>) -> wasmtime::Result<()> {
        self.table.delete(view)?;
        Ok(())
    }

    /// Reads a column and remembers that it was read.
    fn column<T>(
        &mut self,
        view: &Resource<View>,
        table: &str,
        name: &str,
        take: impl FnOnce(&mut Texts, Column<'_>) -> wasmtime::Result<Option<T>>,
    ) -> wasmtime::Result<Option<T>> {
        let view = Arc::clone(&self.table.get(view)?.0);
        let Some(column) = columns::column(&view, table, name) else { return Ok(None) };
        self.reads.insert(format!("{table}/{name}"));
        take(&mut self.texts, column)
    }
}

/// Texts and the numbers that stand for them, for as long as the instance lives. 0 stands for none.
#[derive(Default)]
struct Texts {
    texts: Vec<Arc<str>>,
    ids: HashMap<Arc<str>, u32>,
}

impl Texts {
    fn id(&mut self, text: &str) -> wasmtime::Result<u32> {
        if let Some(id) = self.ids.get(text) {
            return Ok(*id);
        }
        if self.texts.len() >= TEXTS_MAX {
            return Err(wasmtime::Error::msg(format!("more than {TEXTS_MAX} different texts")));
        }
        let text: Arc<str> = text.into();
        self.texts.push(Arc::clone(&text));
        let id = u32::try_from(self.texts.len())?;
        self.ids.insert(text, id);
        Ok(id)
    }

    fn text(&self, id: u32) -> Option<&str> {
        let position = usize::try_from(id).ok()?.checked_sub(1)?;
        self.texts.get(position).map(AsRef::as_ref)
    }
}

impl types::Host for State {}
impl cluster::Host for State {}

impl cluster::HostView for State {
    fn generation(&mut self, view: Resource<View>) -> wasmtime::Result<u64> {
        Ok(self.table.get(&view)?.0.generation.0)
    }

    fn rows(&mut self, view: Resource<View>, table: String) -> wasmtime::Result<Option<u32>> {
        Ok(columns::rows(&self.table.get(&view)?.0, &table))
    }

    fn u64s(
        &mut self,
        view: Resource<View>,
        table: String,
        column: String,
    ) -> wasmtime::Result<Option<Vec<u64>>> {
        self.column(&view, &table, &column, |_, c| Ok(c.u64s()))
    }

    fn f64s(
        &mut self,
        view: Resource<View>,
        table: String,
        column: String,
    ) -> wasmtime::Result<Option<Vec<f64>>> {
        self.column(&view, &table, &column, |_, c| Ok(c.f64s()))
    }

    fn u32s(
        &mut self,
        view: Resource<View>,
        table: String,
        column: String,
    ) -> wasmtime::Result<Option<Vec<u32>>> {
        self.column(&view, &table, &column, |_, c| Ok(c.u32s()))
    }

    fn ids(
        &mut self,
        view: Resource<View>,
        table: String,
        column: String,
    ) -> wasmtime::Result<Option<Vec<u32>>> {
        self.column(&view, &table, &column, |texts, c| match c {
            Column::Text(cells) => {
                let ids = cells.into_iter().map(|cell| cell.map_or(Ok(0), |text| texts.id(text)));
                ids.collect::<wasmtime::Result<_>>().map(Some)
            }
            Column::Small(_) | Column::Large(_) => Ok(None),
        })
    }

    fn text(&mut self, _view: Resource<View>, id: u32) -> wasmtime::Result<Option<String>> {
        Ok(self.texts.text(id).map(str::to_owned))
    }

    fn texts(&mut self, _view: Resource<View>, ids: Vec<u32>) -> wasmtime::Result<Vec<String>> {
        Ok(ids.into_iter().map(|id| self.texts.text(id).unwrap_or_default().to_owned()).collect())
    }

    fn id_of(&mut self, _view: Resource<View>, text: String) -> wasmtime::Result<Option<u32>> {
        // A text that no column has shown yet gets its number now, so that comparing works in either order.
        self.texts.id(&text).map(Some)
    }

    fn changed(
        &mut self,
        view: Resource<View>,
        table: String,
        since: u64,
    ) -> wasmtime::Result<Option<Vec<u32>>> {
        let view = &self.table.get(&view)?.0;
        // This host keeps no history, which the contract allows: anything older means "read all".
        Ok((columns::rows(view, &table).is_some() && view.generation.0 == since).then(Vec::new))
    }

    fn drop(&mut self, view: Resource<View>) -> wasmtime::Result<()> {
        self.take_back(view)
    }
}

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
    fn new(limits: &Limits) -> Self {
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
                "it asked for {total} bytes of memory, the limit is {}",
                self.memory_max
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
    cluster::add_to_linker::<State, HasSelf<State>>(&mut linker, |s| s)?;
    log::add_to_linker::<State, HasSelf<State>>(&mut linker, |s| s)?;
    metrics::add_to_linker::<State, HasSelf<State>>(&mut linker, |s| s)?;
    Ok(linker)
}
