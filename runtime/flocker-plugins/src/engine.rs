//! The engine that policies run in, and its limits. Synchronous, deterministic, bounded.

use std::{
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::Duration,
};

use wasmtime::{
    Cache, CacheConfig, Config, Enabled, Engine, InstanceAllocationStrategy,
    PoolingAllocationConfig,
};

use crate::{record::RecordsConfig, signature::PublicKey, watchdog::Watchdog};

/// What a plugin may use up; [`crate::OwnLimits`] change some of it for one plugin. The defaults are generous to interpreters (Python, JavaScript) and still end a runaway
/// within two seconds.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Instructions per call, more or less. A hand-written policy needs thousands, a JavaScript engine 64 million.
    pub fuel: u64,
    /// Wall clock per call.
    pub wall: Duration,
    /// Wall clock to start and to configure it: interpreters initialise themselves then.
    pub wall_start: Duration,
    /// Memory of one instance, in bytes. At most 64 MiB, which is what the pool's slots hold.
    pub memory_bytes: usize,
    /// Entries of all its tables together.
    pub table_entries: usize,
    /// Core instances that it may consist of; a Python component has 38.
    pub instances: usize,
    /// Bytes that may cross the border in one call.
    pub crossing_bytes: usize,
    /// The largest file that is read.
    pub file_bytes: u64,
    /// Lines that it may write to the log in one call.
    pub log_lines: u32,
    /// Questions after which its instance is replaced by a fresh one.
    pub calls_per_instance: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            fuel: 1_000_000_000,
            wall: Duration::from_secs(2),
            wall_start: Duration::from_secs(10),
            memory_bytes: MEMORY_BYTES_MAX,
            table_entries: 20_000,
            instances: INSTANCES_MAX as usize,
            crossing_bytes: 4 << 20,
            file_bytes: 64 << 20,
            log_lines: 20,
            calls_per_instance: 1000,
        }
    }
}

/// The pool's slots are this large, so no limit can be larger.
pub(crate) const MEMORY_BYTES_MAX: usize = 64 << 20;
/// Core instances in one component.
const INSTANCES_MAX: u32 = 64;
/// Memories in one component. A JavaScript component has three, two of them empty: they belong to what stands in for WASI.
const MEMORIES_MAX: u32 = 4;
/// Components that may be instantiated at once: one per plugin and one that replaces it.
const COMPONENTS_MAX: u32 = 32;
/// What the compile cache may hold before it removes what was not used for longest.
const CACHE_BYTES: u64 = 512 << 20;

/// How a host is set up.
#[derive(Debug, Clone, Default)]
pub struct HostConfig {
    /// Where compiled plugins are kept, so that large ones load in milliseconds. Must be writable by nobody else, as
    /// what is in it is executed. `None` compiles each time.
    pub cache: Option<PathBuf>,
    /// What each plugin may use up that has no limits of its own.
    pub limits: Limits,
    /// Where questions and answers are kept, so that another plugin can be asked the same. `None` keeps none.
    pub records: Option<RecordsConfig>,
    /// Whose signature each plugin must have, beside its file. `None` loads what nobody signed.
    pub signed_by: Option<PublicKey>,
}

/// Why plugins cannot be run at all.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The folder for compiled plugins cannot be used.
    #[error(
        "the plugin cache `{path}` cannot be used: {reason}\nhint: it must be an absolute path to a folder that belongs to this user alone"
    )]
    Cache { path: PathBuf, reason: String },
    /// Decisions cannot be recorded.
    #[error("decisions cannot be recorded: {0}")]
    Records(String),
    /// The engine refuses to start on this machine.
    #[error("WebAssembly cannot be run on this machine: {0}")]
    Unsupported(String),
    /// No thread could be started.
    #[error("could not start the thread that stops plugins: {0}")]
    Thread(#[from] std::io::Error),
}

/// An engine with its clock.
pub(crate) fn start(config: &HostConfig) -> Result<(Engine, Watchdog), EngineError> {
    let cache = config.cache.as_deref().map(open_cache).transpose()?;
    // Pooled instances take microseconds to make, but reserve address space; under a limit (`ulimit -v`) that fails.
    let engine = match Engine::new(&engine_config(cache.clone(), true)) {
        Ok(engine) => engine,
        Err(refused) => {
            tracing::info!(reason = %refused, "no address space for pooled plugin instances; they are made on demand");
            let on_demand = Engine::new(&engine_config(cache, false));
            on_demand.map_err(|e| EngineError::Unsupported(format!("{e:#}")))?
        }
    };
    let watchdog = Watchdog::start(&engine)?;
    Ok((engine, watchdog))
}

/// For a process that makes no instances, and whose code is that of pooled ones.
pub(crate) fn compiling(cache: Option<&Path>) -> Result<Config, EngineError> {
    let mut config = engine_config(cache.map(open_cache).transpose()?, true);
    config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
    Ok(config)
}

fn engine_config(cache: Option<Cache>, pooled: bool) -> Config {
    let mut config = Config::new();
    config
        .cache(cache)
        .consume_fuel(true)
        .epoch_interruption(true)
        // Twice to three times faster calls; no policy is asynchronous.
        .concurrency_support(false)
        // Two machines must give the same answer.
        .cranelift_nan_canonicalization(true)
        .wasm_relaxed_simd(false)
        .wasm_memory64(false)
        .memory_reservation_for_growth(0);
    if pooled {
        // All that a 32-bit address can name, so that nothing has to be compared before an access.
        config.memory_reservation(1 << 32);
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(COMPONENTS_MAX)
            .total_core_instances(COMPONENTS_MAX * INSTANCES_MAX)
            .total_memories(COMPONENTS_MAX * MEMORIES_MAX)
            .total_tables(COMPONENTS_MAX * 8)
            .max_core_instances_per_component(INSTANCES_MAX)
            .max_memories_per_component(MEMORIES_MAX)
            .max_tables_per_component(8)
            .max_memory_size(MEMORY_BYTES_MAX)
            .table_elements(20_000)
            // What a small policy touched stays mapped between its instances, and is only made zero.
            .linear_memory_keep_resident(2 << 20)
            .table_keep_resident(64 << 10)
            .pagemap_scan(Enabled::Auto);
        config.allocation_strategy(pool);
    } else {
        config.memory_reservation(MEMORY_BYTES_MAX as u64).memory_guard_size(64 << 10);
    }
    config
}

/// Opens the cache in a folder that only this user can enter: whoever can write to it can run code here.
pub(crate) fn open_cache(path: &Path) -> Result<Cache, EngineError> {
    let refuse = |reason: String| EngineError::Cache { path: path.to_owned(), reason };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|e| refuse(e.to_string()))?;
    let mut config = CacheConfig::new();
    config.with_directory(path).with_files_total_size_soft_limit(CACHE_BYTES);
    Cache::new(config).map_err(|e| refuse(format!("{e:#}")))
}
