//! All plugins of a node, in the order in which they were configured.

use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use flocker_planner::{ClusterView, PlacementQuestion, Policies, PolicyAnswer, PolicyFailure};
use wasmtime::{Engine, component::Linker};

use crate::{
    chatter::{Chatter, tame},
    contract::Hook,
    engine::{self, EngineError, HostConfig, Limits},
    guest::{Blueprint, Guest, Moment},
    load::{self, LoadError, Refusal},
    plugin::{Loaded, Plugin, PluginInfo, Warm},
    state::{self, State},
    watchdog::Watchdog,
};

/// Loads plugins and asks them. Every call is synchronous and returns in bounded time; give it a thread of its own.
pub struct PluginHost {
    engine: Engine,
    linker: Linker<State>,
    watchdog: Arc<Watchdog>,
    limits: Limits,
    plugins: RwLock<Vec<Arc<Plugin>>>,
}

impl fmt::Debug for PluginHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.plugins().iter().map(|p| p.loaded.name.clone()).collect();
        f.debug_struct("PluginHost").field("plugins", &names).finish_non_exhaustive()
    }
}

impl PluginHost {
    /// Starts the engine.
    ///
    /// # Errors
    /// [`EngineError`] when the cache folder cannot be used or this machine cannot run WebAssembly.
    pub fn new(config: HostConfig) -> Result<Self, EngineError> {
        let (engine, watchdog) = engine::start(&config)?;
        let linker =
            state::linker(&engine).map_err(|e| EngineError::Unsupported(format!("{e:#}")))?;
        Ok(Self {
            engine,
            linker,
            watchdog: Arc::new(watchdog),
            limits: config.limits,
            plugins: RwLock::new(Vec::new()),
        })
    }

    /// Loads, checks, starts and configures a plugin; from then on it is asked. `settings` is a JSON document, or empty.
    ///
    /// # Errors
    /// [`LoadError`] says what the file is instead of a plugin, or what the plugin did. Nothing of it stays behind.
    pub fn load(&self, path: &Path, settings: &str, weight: u32) -> Result<Loaded, LoadError> {
        let plugin = self.try_load(path, settings, weight);
        let plugin = plugin.map_err(|reason| LoadError { path: path.to_owned(), reason })?;
        let loaded = plugin.loaded.clone();
        tracing::info!(plugin = %loaded.name, version = %loaded.version, digest = %loaded.digest, "plugin loaded");
        self.plugins.write().unwrap_or_else(PoisonError::into_inner).push(Arc::new(plugin));
        Ok(loaded)
    }

    fn try_load(&self, path: &Path, settings: &str, weight: u32) -> Result<Plugin, Refusal> {
        let settings = if settings.trim().is_empty() { "{}" } else { settings };
        serde_json::from_str::<serde::de::IgnoredAny>(settings)
            .map_err(|e| Refusal::Settings(e.to_string()))?;
        let checked = load::check(&self.engine, path, self.limits.file_bytes)?;
        let stem = path.file_stem().map(|s| tame(&s.to_string_lossy(), 64)).unwrap_or_default();
        let blueprint = Blueprint::new(
            &self.linker,
            &checked.component,
            &checked.hooks,
            checked.wasi,
            &self.limits,
            &self.watchdog,
            Chatter::new(&stem, self.limits.log_lines),
        );
        let blueprint = blueprint.map_err(|e| Refusal::Types(tame(&format!("{e:#}"), 400)))?;
        let (name, version) = describe(&blueprint)?;
        let name = if name.is_empty() { stem } else { name };
        let blueprint = blueprint.with_chatter(Chatter::new(&name, self.limits.log_lines));
        let guest =
            failed("was configured", blueprint.start_configured(Moment::default(), settings))?;
        Ok(Plugin {
            loaded: Loaded { name, version, digest: checked.digest, hooks: checked.hooks },
            path: path.to_owned(),
            weight,
            settings: settings.to_owned(),
            blueprint,
            warm: Mutex::new(Warm::new(guest)),
        })
    }

    /// Every plugin and how it stands.
    #[must_use]
    pub fn list(&self) -> Vec<PluginInfo> {
        self.plugins().iter().map(|p| p.info()).collect()
    }

    fn plugins(&self) -> Vec<Arc<Plugin>> {
        self.plugins.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Policies for PluginHost {
    fn place(&self, view: &ClusterView, question: &PlacementQuestion) -> Vec<PolicyAnswer> {
        let plugins = self.plugins();
        let asked: Vec<_> =
            plugins.iter().filter(|p| p.loaded.hooks.contains(&Hook::Placement)).collect();
        if asked.is_empty() {
            return Vec::new();
        }
        // An instance outlives the call, so it cannot borrow; one copy serves all plugins.
        let view = Arc::new(view.clone());
        asked.into_iter().map(|plugin| plugin.place(&view, question)).collect()
    }
}

/// Asks a plugin who it is.
fn describe(blueprint: &Blueprint) -> Result<(String, String), Refusal> {
    let guest: Guest = failed("was started", blueprint.start(Moment::default()))?;
    let (_, _, info) = blueprint.call(guest, Moment::default(), |store, exports| {
        exports.lifecycle.call_describe(store).map(Ok)
    });
    let info = failed("was asked for its name", info)?;
    Ok((tame(info.name.trim(), 64), tame(info.version.trim(), 32)))
}

fn failed<T>(doing: &'static str, result: Result<T, PolicyFailure>) -> Result<T, Refusal> {
    result.map_err(|failure| Refusal::Failed { doing, failure })
}
