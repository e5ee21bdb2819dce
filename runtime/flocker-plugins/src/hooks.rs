//! The questions, in the form in which they cross the border, and how each is put. One file per hook holds what
//! translates between it and the planner's form; nothing else knows both.

pub(crate) mod backups;
pub(crate) mod failover;
pub(crate) mod placement;
pub(crate) mod rebalance;

use std::fmt;

use serde::{Serialize, de::DeserializeOwned};
use wasmtime::{Store, component::Resource};

pub(crate) use self::{
    backups::{Next, Prune},
    failover::Decide,
    placement::Evaluate,
    rebalance::Plan,
};
use crate::{
    bindings::flocker::plugin::types, contract::Hook, guest::Exports, state::State, view::View,
};

/// One kind of question.
pub(crate) trait Ask: Serialize + DeserializeOwned + fmt::Debug + Send + Sync {
    /// What a plugin answers, unchecked.
    type Verdict: Serialize + DeserializeOwned + fmt::Debug;

    /// The hook that it belongs to.
    const HOOK: Hook;

    /// What tells it apart from other questions of the same hook, in records and for people.
    const KIND: &'static str;

    /// Puts it to an instance. The view is dropped by the plugin.
    ///
    /// # Errors
    /// Whatever ends the instance; an orderly refusal is an `Ok(Err(_))`.
    fn put(
        &self,
        store: &mut Store<State>,
        exports: &Exports,
        context: &types::Context,
        view: Resource<View>,
    ) -> wasmtime::Result<Result<Self::Verdict, types::Failure>>;
}

/// The longest reason that is kept.
const REASON_CHARS_MAX: usize = 200;

/// A reason that may be shown.
fn reason(text: &str) -> String {
    crate::chatter::tame(text, REASON_CHARS_MAX)
}

/// The exports of a hook that the component was found to have.
fn exported<T>(guest: Option<&T>, hook: Hook) -> wasmtime::Result<&T> {
    guest.ok_or_else(|| wasmtime::Error::msg(format!("it exports no `{hook}`")))
}
