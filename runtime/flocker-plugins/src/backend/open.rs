//! From a file and grants to a backend that can be used.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use flocker_model::ByteSize;
use flocker_ports::BackendError;
use wasmtime::component::Component;

use super::{
    PluginBackend, answers,
    call::Plugin,
    copies::Copies,
    devices::Devices,
    given::{Given, own_folder},
    kv::QUOTA_MAX,
    limits::{self, BackendLimits},
    mounts::Mounts,
    node::Node,
    questions::{Describe, DescribeBackend},
    state::Shared,
};
use crate::{
    chatter::tame,
    contract::{self, Hook, Misfit},
    engine::EngineError,
    grants::Grants,
    load::{self, LoadError, Refusal},
    plugin::Loaded,
    settings,
};

/// A storage backend as the operator configured it.
#[derive(Debug, Clone)]
pub struct BackendConfig {
    /// The component.
    pub path: PathBuf,
    /// A JSON document; nothing or `{}` where there are no settings.
    pub settings: String,
    /// What it may have.
    pub grants: Grants,
    /// A folder of this host's own for its mounts, its unfinished streams and the plugin's store.
    pub state_dir: PathBuf,
    /// Where compiled plugins are kept. `None` compiles each time.
    pub cache: Option<PathBuf>,
    /// What it may use up.
    pub limits: BackendLimits,
}

/// Why a backend cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenBackendError {
    /// No component can be run.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The component is none, or not a backend for this host.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// It needs something that the operator did not grant.
    #[error("plugin `{plugin}` needs {what}, which was not granted\nhint: grant it with `{hint}`")]
    NotGranted { plugin: String, what: String, hint: String },
    /// More was granted than this host gives.
    #[error(
        "`kv={0}` is more than this host gives: its store is kept in memory\nhint: grant at most {QUOTA_MAX}"
    )]
    KvTooLarge(ByteSize),
    /// A granted directory, or the host's own, cannot be used.
    #[error(
        "`{path}` cannot be used: {error}\nhint: it must be a directory that exists and that this user can open"
    )]
    Folder { path: PathBuf, error: io::Error },
    /// A granted secret cannot be used.
    #[error("the secret in `{path}` cannot be used: {error}")]
    Secret { path: PathBuf, error: io::Error },
    /// The plugin did not say what it is.
    #[error(transparent)]
    Plugin(BackendError),
}

impl PluginBackend {
    /// Loads, checks, starts and configures a backend. It gets what it needs of what was granted.
    ///
    /// # Errors
    /// [`OpenBackendError`] says what is wrong with the file, the grants, the folders or the plugin.
    pub async fn open(config: BackendConfig) -> Result<Self, OpenBackendError> {
        let (engine, watchdog) = limits::start(config.cache.as_deref())?;
        let watchdog = Arc::new(watchdog);
        let refuse = |reason| LoadError { path: config.path.clone(), reason };
        let settings =
            if config.settings.trim().is_empty() { "{}" } else { config.settings.as_str() };
        let document = settings::parse(settings).map_err(refuse)?;
        let checked = check(&engine, &config.path, config.limits.file_bytes).map_err(refuse)?;
        let stem = config.path.file_stem().map(|s| tame(&s.to_string_lossy(), 64));
        let stem = stem.unwrap_or_default();
        let types = |e: wasmtime::Error| refuse(Refusal::Types(tame(&format!("{e:#}"), 400)));

        // Asked who it is before it is given anything.
        let nothing = shared(&stem, &config.limits, Given::nothing());
        let stranger = Plugin::new(&checked.component, Arc::clone(&watchdog), settings, nothing)
            .map_err(types)?;
        let info = stranger.ask_unconfigured(config.limits.wall_look, &Describe).await.map_err(
            |failure| {
                refuse(Refusal::Failed {
                    doing: "was asked for its name",
                    failure: failure.into_policy_failure(),
                })
            },
        )?;
        settings::check(&info.settings_schema, &document).map_err(refuse)?;
        let name = tame(info.name.trim(), 64);
        let name = if name.is_empty() { stem } else { name };

        let given = Given::of(&name, &info, checked.needs_kv, &config)?;
        // Before the folders that nobody else may enter: containers' mounts start in this one.
        let shown = config.state_dir.join("volumes");
        let devices = config.state_dir.join("devices");
        let mounts = Devices::new(given.devices.clone(), devices)
            .and_then(|devices| Mounts::new(shown.clone(), devices))
            .map_err(|error| OpenBackendError::Folder { path: shown, error })?;
        let shared = shared(&name, &config.limits, given);
        let plugin = Plugin::new(&checked.component, watchdog, settings, shared).map_err(types)?;
        let node = node(plugin, mounts, &config.state_dir).await?;
        let loaded = Loaded {
            name,
            version: tame(info.version.trim(), 32),
            digest: checked.digest,
            hooks: vec![Hook::StorageBackend],
            settings_schema: info.settings_schema,
        };
        tracing::info!(plugin = %loaded.name, version = %loaded.version, digest = %loaded.digest, driver = %node.description.driver, "storage backend loaded");
        Ok(Self { node: Arc::new(node), loaded })
    }
}

/// A component that may be instantiated as a backend.
struct Checked {
    component: Component,
    digest: String,
    needs_kv: bool,
}

fn check(engine: &wasmtime::Engine, path: &Path, bytes_max: u64) -> Result<Checked, Refusal> {
    let bytes = load::read(path, bytes_max)?;
    load::recognise(&bytes)?;
    let malformed = |e: wasmtime::Error| Refusal::Malformed(tame(&format!("{e:#}"), 400));
    let component = Component::from_binary(engine, &bytes).map_err(malformed)?;
    let kind = component.component_type();
    let needs_kv = contract::check_backend_imports(kind.imports(engine).map(|(name, _)| name))?;
    let hooks = contract::check_exports(kind.exports(engine).map(|(name, _)| name))?;
    if !hooks.contains(&Hook::StorageBackend) {
        let exports = hooks.iter().map(|hook| format!("`{hook}`")).collect::<Vec<_>>().join(", ");
        return Err(Misfit::NoBackend { exports }.into());
    }
    Ok(Checked { component, digest: load::digest(&bytes), needs_kv })
}

fn shared(name: &str, limits: &BackendLimits, given: Given) -> Shared {
    Shared {
        name: name.to_owned(),
        limits: limits.clone(),
        folders: Arc::new(given.folders),
        kv: given.kv,
        http: given.http,
        commands: given.commands,
        copies: Copies::default(),
        metrics: Mutex::default(),
    }
}

async fn node(plugin: Plugin, mounts: Mounts, state_dir: &Path) -> Result<Node, OpenBackendError> {
    let incoming = state_dir.join("incoming");
    own_folder(&incoming)?;
    let mut node = Node::new(plugin, mounts, incoming);
    let info = node.look(None, DescribeBackend {}).await.map_err(OpenBackendError::Plugin)?;
    let mut description = answers::description(info);
    if let Some(path) = node.plugin.shared.folders.for_people(&description.pool) {
        description.pool = path;
    }
    node.description = description;
    Ok(node)
}
