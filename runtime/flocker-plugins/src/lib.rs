//! The wasmtime host: loads WebAssembly components and asks them as [`flocker_planner::Policies`].
//!
//! A plugin's answer is advice, and its misbehaviour is an answer too: whatever a component does, [`PluginHost`] returns
//! in bounded time with either an answer or a [`flocker_planner::PolicyFailure`], and never panics. Nothing here decides anything,
//! and nothing about policies is async: callers give them a thread of their own (`spawn_blocking`).
//!
//! ```text
//! file -> load (what is it?) -> contract (what does it ask for?) -> guest (instance, guarded calls) -> plugin (warm
//!         instance, breaker, statistics) -> host (all plugins, in order)
//! ```
//!
//! Storage backends are another kind of plugin, with an engine of their own, asynchronous: [`PluginBackend`].

mod backend;
mod bindings;
mod breaker;
mod chatter;
mod columns;
mod compiler;
pub mod conformance;
mod contract;
mod dictionary;
mod effort;
mod engine;
mod grants;
mod guest;
mod hooks;
mod host;
mod inspect;
mod load;
mod names;
mod own_limits;
mod pending;
mod plugin;
mod record;
mod repeats;
mod replay;
mod settings;
mod signature;
mod slot;
mod state;
mod upgrade;
mod view;
mod wasi;
mod watchdog;

pub use backend::{
    BackendConfig, BackendInfo, BackendLimits, BackendNeeds, Need, OpenBackendError, PluginBackend,
};
pub use chatter::{acts, tame};
pub use compiler::compile_if_asked;
pub use contract::Hook;
pub use engine::{EngineError, HostConfig, Limits};
pub use grants::{DeviceGrant, Grant, GrantError, Grants, UrlGrant};
pub use host::{Configured, PluginHost, Reloaded};
pub use inspect::{Import, Inspection, Kind, Origin, exported_hooks};
pub use load::{LoadError, Misfit, Refusal, digest, read_component};
pub use own_limits::{Limit, LimitError, OwnLimits};
pub use pending::PendingInfo;
pub use plugin::{Health, Loaded, Mode, PluginInfo};
pub use record::RecordsConfig;
pub use replay::{Difference, ReplayError, ReplayReport};
pub use signature::{
    KeyError, PublicKey, SIGNATURE_BYTES_MAX, SignatureError, Signed, claimed_key_id, key_id,
    read_signature, signature_file,
};
pub use upgrade::{SHADOW_DECISIONS, SHADOW_FOR, TrialInfo};
