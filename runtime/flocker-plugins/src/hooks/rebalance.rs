//! Which apps had better be elsewhere.

use flocker_planner::{ProposedMove, RebalanceQuestion};
use serde::{Deserialize, Serialize};
use wasmtime::{Store, component::Resource};

use super::{Ask, exported, reason};
use crate::{
    bindings::{exports::flocker::plugin::rebalance, flocker::plugin::types},
    contract::Hook,
    guest::Exports,
    state::State,
    view::View,
};

/// `rebalance.plan`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    movable: Vec<u32>,
    moves_max: u32,
}

impl Ask for Plan {
    type Verdict = Vec<rebalance::Move>;
    const HOOK: Hook = Hook::Rebalance;
    const KIND: &'static str = "rebalance";

    fn put(
        &self,
        store: &mut Store<State>,
        exports: &Exports,
        context: &types::Context,
        view: Resource<View>,
    ) -> wasmtime::Result<Result<Self::Verdict, types::Failure>> {
        let hook = exported(exports.rebalance.as_ref(), Self::HOOK)?;
        hook.call_plan(store, context, view, &self.movable, self.moves_max)
    }
}

impl From<&RebalanceQuestion> for Plan {
    fn from(question: &RebalanceQuestion) -> Self {
        Self { movable: question.movable.clone(), moves_max: question.moves_max }
    }
}

/// The verdict, as the planner knows it.
pub(crate) fn answer(verdict: Vec<rebalance::Move>) -> Vec<ProposedMove> {
    let proposed = |m: rebalance::Move| ProposedMove {
        app: m.app,
        target: m.target,
        gain: m.gain,
        reason: reason(&m.reason),
    };
    verdict.into_iter().map(proposed).collect()
}
