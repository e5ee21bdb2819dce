//! What policies are asked, and how. One file per hook knows both forms of its questions, the planner's and the one that
//! crosses the border; nothing else does.

mod backups;
mod failover;
mod placement;
mod rebalance;

use std::fmt;

use flocker_planner::{ClusterView, PolicyFailure};
use serde::{Serialize, de::DeserializeOwned};
use wasmtime::{Store, component::Resource};

pub(crate) use self::{
    backups::{Next, Prune},
    failover::Decide,
    placement::Evaluate,
    rebalance::Plan,
};
use crate::{
    bindings::flocker::plugin::types, contract::Hook, guest::Exports, record, state::State,
    view::View,
};

/// One kind of question: the planner's form, the form in which it crosses the border, and the way between them.
pub(crate) trait Ask: Serialize + DeserializeOwned + fmt::Debug {
    /// The question, as the planner asks it.
    type Question;
    /// The answer, as the planner knows it.
    type Answer: Clone;
    /// What a plugin answers, unchecked.
    type Verdict: Serialize + DeserializeOwned + fmt::Debug;

    /// The hook that it belongs to.
    const HOOK: Hook;
    /// What tells it apart from other questions of the same hook, in records and for people.
    const KIND: &'static str;

    /// The question, as it crosses the border.
    fn of(question: &Self::Question) -> Self;

    /// What it is about: the same for questions that differ only in when they are asked.
    fn subject(&self) -> Vec<u8> {
        record::bytes(self)
    }

    /// Puts it to an instance.
    ///
    /// # Errors
    /// Whatever ends the instance; an orderly refusal is an `Ok(Err(_))`.
    fn put(&self, entry: Entry<'_>) -> wasmtime::Result<Result<Self::Verdict, types::Failure>>;

    /// What a verdict means.
    ///
    /// # Errors
    /// A [`PolicyFailure`] of class "invalid-answer" where it makes no sense.
    fn read(
        verdict: Self::Verdict,
        view: &ClusterView,
        question: &Self::Question,
    ) -> Result<Self::Answer, PolicyFailure>;
}

/// The way into an instance, for one question. The plugin drops the view.
pub(crate) struct Entry<'a> {
    pub(crate) store: &'a mut Store<State>,
    pub(crate) exports: &'a Exports,
    pub(crate) context: &'a types::Context,
    pub(crate) view: Resource<View>,
}

/// The longest reason that is kept.
const REASON_CHARS_MAX: usize = 200;

/// A text of a plugin's that may be shown.
fn reason(text: &str) -> String {
    crate::chatter::tame(text, REASON_CHARS_MAX)
}

/// The exports of a hook that the component was found to have.
fn exported<T>(guest: Option<&T>, hook: Hook) -> wasmtime::Result<&T> {
    guest.ok_or_else(|| wasmtime::Error::msg(format!("it exports no `{hook}`")))
}
