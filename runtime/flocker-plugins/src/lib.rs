//! The wasmtime host: loads WebAssembly components and asks them as [`flocker_planner::Policies`].
//!
//! A plugin's answer is advice, and its misbehaviour is an answer too: whatever a component does, [`PluginHost`] returns
//! in bounded time with either an answer or a [`flocker_planner::PolicyFailure`], and never panics. Nothing here decides anything,
//! and nothing here is async: callers give it a thread of their own (`spawn_blocking`).
//!
//! ```text
//! file -> load (what is it?) -> contract (what does it ask for?) -> guest (instance, guarded calls) -> plugin (warm
//!         instance, breaker, statistics) -> host (all plugins, in order)
//! ```

mod bindings;
mod breaker;
mod chatter;
mod columns;
mod contract;
mod engine;
mod guest;
mod host;
mod load;
mod placement;
mod plugin;
mod state;
mod wasi;
mod watchdog;

pub use contract::Hook;
pub use engine::{EngineError, HostConfig, Limits};
pub use host::PluginHost;
pub use load::{LoadError, Misfit, Refusal};
pub use plugin::{Health, Loaded, PluginInfo};
