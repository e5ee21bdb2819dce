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
    bindings::exports::flocker::plugin::lifecycle::Info,
    call::Plugin,
    copies::Copies,
    devices::Devices,
    given::{Given, own_folder},
    kv::QUOTA_MAX,
    limits::{self, BackendLimits},
    mounts::Mounts,
    needs::refused,
    node::Node,
    questions::{Describe, DescribeBackend},
    state::Shared,
};
use crate::{
    chatter::tame,
    compiler::{self, For},
    contract::{self, Hook, Misfit},
    engine::EngineError,
    grants::Grants,
    load::{self, LoadError, Refusal, Trust},
    settings,
    signature::PublicKey,
    watchdog::Watchdog,
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
    /// Whose signature the component must have; nobody's if there is no key.
    pub signed_by: Option<PublicKey>,
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
    /// The authorities of a granted host cannot be used.
    #[error("the authorities in `{path}` cannot be used: {error}")]
    Authorities { path: PathBuf, error: io::Error },
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
        let signed_by = config.signed_by.clone();
        let trust = Trust { bytes_max: config.limits.file_bytes, signed_by };
        let met =
            meet(&config.path, &config.settings, &config.limits, config.cache.as_deref(), &trust)
                .await?;
        let loaded = met.loaded();
        let Met { checked, watchdog, settings, info, name } = met;
        let given = Given::of(&name, &info, checked.needs_kv, &config)?;
        // Before the folders that nobody else may enter: containers' mounts start in this one.
        let shown = config.state_dir.join("volumes");
        let devices = config.state_dir.join("devices");
        let mounts = Devices::new(given.devices.clone(), devices)
            .and_then(|devices| Mounts::new(shown.clone(), devices))
            .map_err(|error| OpenBackendError::Folder { path: shown, error })?;
        let shared = shared(&name, &config.limits, given);
        let plugin = Plugin::new(&checked.component, watchdog, &settings, shared);
        let plugin = plugin.map_err(|e| refused(&config.path)(types(&e)))?;
        let node = node(plugin, mounts, &config.state_dir).await?;
        tracing::info!(plugin = %loaded.name, version = %loaded.version, digest = %loaded.digest, driver = %node.description.driver, "storage backend loaded");
        let (path, file_bytes_max) = (config.path, config.limits.file_bytes);
        Ok(Self { node: Arc::new(node), loaded, path, file_bytes_max })
    }
}

/// A backend that said who it is, and was given nothing.
pub(super) struct Met {
    pub(super) checked: Checked,
    watchdog: Arc<Watchdog>,
    /// A JSON document that fits its schema.
    settings: String,
    pub(super) info: Info,
    pub(super) name: String,
}

/// Asks a component who it is before it is given anything.
pub(super) async fn meet(
    path: &Path,
    settings: &str,
    limits: &BackendLimits,
    cache: Option<&Path>,
    trust: &Trust,
) -> Result<Met, OpenBackendError> {
    let (engine, watchdog) = limits::start(cache)?;
    let (watchdog, refuse) = (Arc::new(watchdog), refused(path));
    let settings = if settings.trim().is_empty() { "{}" } else { settings };
    let document = settings::parse(settings).map_err(refuse)?;
    let bytes = trust.read(path).map_err(refuse)?;
    load::recognise(&bytes).map_err(refuse)?;
    compiler::try_out(&bytes, For::Backends, cache).map_err(refuse)?;
    let checked = check_bytes(&engine, &bytes).map_err(refuse)?;
    let stem = path.file_stem().map(|s| tame(&s.to_string_lossy(), 64)).unwrap_or_default();
    let stranger =
        stranger(&checked, Arc::clone(&watchdog), settings, &stem, limits).map_err(refuse)?;
    let info = stranger.ask_unconfigured(limits.wall_look, &Describe).await.map_err(|failure| {
        refuse(Refusal::Failed {
            doing: "was asked for its name",
            failure: failure.into_policy_failure(),
        })
    })?;
    settings::check(&info.settings_schema, &document).map_err(refuse)?;
    let name = tame(info.name.trim(), 64);
    let name = if name.is_empty() { stem } else { name };
    Ok(Met { checked, watchdog, settings: settings.to_owned(), info, name })
}

/// A plugin without any grant, if its types are those of this host.
pub(super) fn stranger(
    checked: &Checked,
    watchdog: Arc<Watchdog>,
    settings: &str,
    name: &str,
    limits: &BackendLimits,
) -> Result<Plugin, Refusal> {
    let nothing = shared(name, limits, Given::nothing());
    Plugin::new(&checked.component, watchdog, settings, nothing).map_err(|e| types(&e))
}

fn types(error: &wasmtime::Error) -> Refusal {
    Refusal::Types(tame(&format!("{error:#}"), 400))
}

/// A component that may be instantiated as a backend.
pub(super) struct Checked {
    component: Component,
    pub(super) digest: String,
    pub(super) needs_kv: bool,
}

pub(super) fn check_bytes(engine: &wasmtime::Engine, bytes: &[u8]) -> Result<Checked, Refusal> {
    load::recognise(bytes)?;
    let malformed = |e: wasmtime::Error| Refusal::Malformed(tame(&format!("{e:#}"), 400));
    let component = Component::from_binary(engine, bytes).map_err(malformed)?;
    let kind = component.component_type();
    let needs_kv = contract::check_backend_imports(kind.imports(engine).map(|(name, _)| name))?;
    let hooks = contract::check_exports(kind.exports(engine).map(|(name, _)| name))?;
    if !hooks.contains(&Hook::StorageBackend) {
        let exports = hooks.iter().map(|hook| format!("`{hook}`")).collect::<Vec<_>>().join(", ");
        return Err(Misfit::NoBackend { exports }.into());
    }
    Ok(Checked { component, digest: load::digest(bytes), needs_kv })
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
