//! What the host keeps for one instance of a backend, and what the instance may ask it: log, metrics, store, trees.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tracing::Level;
use wasmtime::component::{HasSelf, Linker, ResourceTable};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxView, WasiView};

use super::{
    bindings::flocker::plugin::{commands, http, kv, log, metrics, trees, types},
    commands::Commands,
    copies::Copies,
    folders::Folders,
    http::Http,
    kv::Kv,
    limits::BackendLimits,
};
use crate::{
    chatter::{Chatter, tame},
    state::Meter,
    wasi,
};

/// Metrics of one backend.
const METRICS_MAX: usize = 64;
/// Handles (files, streams, pollables) that one instance may hold.
const HANDLES_MAX: usize = 1000;

/// What all instances of a backend share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) name: String,
    pub(crate) limits: BackendLimits,
    pub(crate) folders: Arc<Folders>,
    pub(crate) kv: Option<Kv>,
    pub(crate) http: Http,
    pub(crate) commands: Commands,
    pub(crate) copies: Copies,
    pub(crate) metrics: Mutex<BTreeMap<String, f64>>,
}

/// All that belongs to one instance.
pub(crate) struct State {
    table: ResourceTable,
    wasi: WasiCtx,
    pub(crate) shared: Arc<Shared>,
    pub(crate) chatter: Chatter,
    pub(crate) meter: Meter,
    /// Ticks that this call has computed.
    pub(crate) ticks: u64,
}

impl State {
    /// # Errors
    /// A granted directory that is gone.
    pub(crate) fn new(shared: &Arc<Shared>) -> wasmtime::Result<Self> {
        let mut table = ResourceTable::new();
        table.set_max_capacity(HANDLES_MAX);
        let chatter = Chatter::new(&shared.name, shared.limits.log_lines);
        let mut wasi = wasi::quiet(&chatter);
        for (name, path) in shared.folders.iter() {
            wasi.preopened_dir(path, format!("/{name}"), FsPerms::ReadWrite)?;
        }
        Ok(Self {
            table,
            wasi: wasi.build(),
            shared: Arc::clone(shared),
            chatter,
            meter: Meter::new(&shared.limits.meter()),
            ticks: 0,
        })
    }
}

/// Everything that a backend may import.
pub(crate) fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    types::add_to_linker::<State, HasSelf<State>>(&mut linker, |s| s)?;
    log::add_to_linker::<State, HasSelf<State>>(&mut linker, |s| s)?;
    metrics::add_to_linker::<State, HasSelf<State>>(&mut linker, |s| s)?;
    kv::add_to_linker::<State, HasSelf<State>>(&mut linker, |s| s)?;
    trees::add_to_linker::<State, HasSelf<State>>(&mut linker, |s| s)?;
    http::add_to_linker::<State, HasSelf<State>>(&mut linker, |s| s)?;
    commands::add_to_linker::<State, HasSelf<State>>(&mut linker, |s| s)?;
    Ok(linker)
}

/// An error without a code.
pub(crate) fn failure(message: impl ToString) -> types::Failure {
    coded(0, message)
}

/// `failure.code` of `http` and `commands` (wit/codes.md).
pub(crate) const CODE_NOT_GRANTED: u32 = 20;
pub(crate) const CODE_UNREACHABLE: u32 = 21;
pub(crate) const CODE_LATE: u32 = 22;
pub(crate) const CODE_TOO_MUCH: u32 = 23;

pub(crate) fn coded(code: u32, message: impl ToString) -> types::Failure {
    types::Failure { code, message: message.to_string(), retry_after_ms: None }
}

/// The longest that the host waits for somebody else in a plugin's name.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// How long it waits when a plugin asks for so many milliseconds; 0 = it does not mind.
pub(crate) fn wait_at_most(timeout_ms: u32) -> Duration {
    match timeout_ms {
        0 => WAIT_MAX,
        ms => WAIT_MAX.min(Duration::from_millis(ms.into())),
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl types::Host for State {}

impl log::Host for State {
    fn enabled(&mut self, at: log::Level) -> wasmtime::Result<bool> {
        Ok(match level(at) {
            Level::TRACE | Level::DEBUG => tracing::enabled!(target: "plugin", Level::DEBUG),
            _ => true,
        })
    }

    fn write(
        &mut self,
        at: log::Level,
        message: String,
        fields: Vec<(String, String)>,
    ) -> wasmtime::Result<()> {
        let fields = fields.iter().map(|(key, value)| format!(" {key}={value}"));
        self.chatter.say(level(at), &std::iter::once(message).chain(fields).collect::<String>());
        Ok(())
    }
}

fn level(at: log::Level) -> Level {
    match at {
        log::Level::Trace => Level::TRACE,
        log::Level::Debug => Level::DEBUG,
        log::Level::Info => Level::INFO,
        log::Level::Warn => Level::WARN,
        log::Level::Error => Level::ERROR,
    }
}

impl metrics::Host for State {
    fn counter_add(&mut self, name: String, value: u64) -> wasmtime::Result<()> {
        #[expect(clippy::cast_precision_loss, reason = "metrics are floats everywhere")]
        self.shared.metric(&name, |old| old + value as f64);
        Ok(())
    }

    fn gauge_set(&mut self, name: String, value: f64) -> wasmtime::Result<()> {
        self.shared.metric(&name, |_| value);
        Ok(())
    }
}

impl Shared {
    /// Names beyond the limit are dropped: a plugin that makes up names must not fill the memory.
    fn metric(&self, name: &str, change: impl FnOnce(f64) -> f64) {
        let name = tame(name, 100);
        let mut metrics = self.metrics.lock().unwrap_or_else(PoisonError::into_inner);
        if metrics.contains_key(&name) || metrics.len() < METRICS_MAX {
            let value = metrics.entry(name).or_insert(0.0);
            *value = change(*value);
        }
    }
}

impl State {
    /// The store; only a backend that was granted one was let in with this import.
    fn kv(&self) -> wasmtime::Result<Kv> {
        self.shared.kv.clone().ok_or_else(|| wasmtime::Error::msg("no store was granted"))
    }
}

impl kv::Host for State {
    async fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<Vec<u8>>, kv::Failure>> {
        Ok(Ok(self.kv()?.get(&key)))
    }

    async fn swap(
        &mut self,
        key: String,
        expect: Option<Vec<u8>>,
        value: Option<Vec<u8>>,
    ) -> wasmtime::Result<Result<bool, kv::Failure>> {
        let kv = self.kv()?;
        // It waits for the disk.
        let swap = move || kv.swap(key, expect.as_deref(), value);
        let swapped = tokio::task::spawn_blocking(swap).await?;
        Ok(swapped.map_err(failure))
    }

    async fn keys(
        &mut self,
        prefix: String,
        after: Option<String>,
        limit: u32,
    ) -> wasmtime::Result<Result<Vec<String>, kv::Failure>> {
        Ok(Ok(self.kv()?.keys(&prefix, after.as_deref(), limit)))
    }
}

impl trees::Host for State {
    async fn make(
        &mut self,
        path: String,
        owner: Option<trees::Owner>,
    ) -> wasmtime::Result<Result<(), trees::Failure>> {
        let owner = owner.map(|owner| (owner.user, owner.group));
        Ok(self.shared.copies.make(&self.shared.folders, path, owner).await)
    }

    async fn copy(
        &mut self,
        path: String,
        to: String,
    ) -> wasmtime::Result<Result<u64, trees::Failure>> {
        Ok(self.shared.copies.copy(&self.shared.folders, path, to).await)
    }

    async fn remove(&mut self, path: String) -> wasmtime::Result<Result<bool, trees::Failure>> {
        Ok(self.shared.copies.remove(&self.shared.folders, path).await)
    }

    async fn space(
        &mut self,
        path: String,
    ) -> wasmtime::Result<Result<(u64, u64), trees::Failure>> {
        Ok(self.shared.copies.space(&self.shared.folders, path).await)
    }
}

impl http::Host for State {
    async fn send(
        &mut self,
        what: http::Request,
    ) -> wasmtime::Result<Result<http::Response, http::Failure>> {
        Ok(self.shared.http.send(what).await)
    }
}

impl commands::Host for State {
    async fn run(
        &mut self,
        what: commands::Command,
    ) -> wasmtime::Result<Result<commands::Output, commands::Failure>> {
        Ok(self.shared.commands.run(what).await)
    }
}
