//! The engine that backends run in, and its limits. Asynchronous, not deterministic, bounded.

use std::{path::Path, time::Duration};

use wasmtime::{Config, Engine};

use crate::{
    engine::{EngineError, Limits, open_cache},
    watchdog::{TICK, Watchdog},
};

/// What a backend may use up.
#[derive(Debug, Clone)]
pub struct BackendLimits {
    /// Wall clock of a call that only looks: listings are asked for each second.
    pub wall_look: Duration,
    /// Wall clock of a call that changes something; a copy of a large volume takes as long as the disk does.
    pub wall_change: Duration,
    /// Time that one call may compute. The host's own work for it does not count.
    pub cpu: Duration,
    /// How often a call is made before its failure counts: a trap or a timeout may be bad luck.
    pub attempts: u32,
    /// Calls under way at once; more wait.
    pub calls: usize,
    /// Memory of one instance, in bytes.
    pub memory_bytes: usize,
    /// Bytes that may cross the border in one call.
    pub crossing_bytes: usize,
    /// The largest file that is read.
    pub file_bytes: u64,
    /// Lines that it may write to the log in one call.
    pub log_lines: u32,
    /// Calls after which an instance is replaced by a fresh one.
    pub calls_per_instance: u64,
    /// Entries of a whole listing, however many pages it has: five times the volumes of the largest cluster that
    /// decisions are measured with. More is no node's, but a plugin that counts without an end.
    pub listed: usize,
    /// Bytes of all texts in a whole listing, attributes that nobody reads included: a kilobyte for each entry is plenty.
    pub listed_bytes: usize,
    /// Wall clock of a whole listing: pages that each come just in time would hold up an operation for a day.
    pub wall_listing: Duration,
}

impl Default for BackendLimits {
    fn default() -> Self {
        Self {
            wall_look: Duration::from_secs(10),
            wall_change: Duration::from_hours(1),
            cpu: Duration::from_secs(10),
            attempts: 3,
            calls: 64,
            memory_bytes: 64 << 20,
            crossing_bytes: 16 << 20,
            file_bytes: 64 << 20,
            log_lines: 50,
            calls_per_instance: 1000,
            listed: 50_000,
            listed_bytes: 64 << 20,
            wall_listing: Duration::from_mins(1),
        }
    }
}

impl BackendLimits {
    /// Limits in the form that an instance's meter takes.
    pub(crate) fn meter(&self) -> Limits {
        Limits { memory_bytes: self.memory_bytes, ..Limits::default() }
    }

    /// How many ticks of the clock a call may compute; the first may come at once.
    pub(crate) fn ticks(&self) -> u64 {
        u64::try_from(self.cpu.as_millis() / TICK.as_millis()).unwrap_or(u64::MAX / 2) + 1
    }
}

/// An engine with its clock. Instances are made on demand: there are few, and each may be large.
pub(crate) fn start(cache: Option<&Path>) -> Result<(Engine, Watchdog), EngineError> {
    let engine = Engine::new(&engine_config(cache)?)
        .map_err(|e| EngineError::Unsupported(format!("{e:#}")))?;
    let watchdog = Watchdog::start(&engine)?;
    Ok((engine, watchdog))
}

pub(crate) fn engine_config(cache: Option<&Path>) -> Result<Config, EngineError> {
    let mut config = Config::new();
    config.cache(cache.map(open_cache).transpose()?).epoch_interruption(true).wasm_memory64(false);
    Ok(config)
}
