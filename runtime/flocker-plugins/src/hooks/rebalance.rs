//! Which apps had better be elsewhere.

use flocker_planner::{
    ClusterView, PolicyFailure, ProposedMove, RebalanceQuestion, rebalance::check,
};
use serde::{Deserialize, Serialize};

use super::{Ask, Entry, exported, reason};
use crate::{
    bindings::{exports::flocker::plugin::rebalance, flocker::plugin::types},
    contract::Hook,
};

/// `rebalance.plan`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    movable: Vec<u32>,
    moves_max: u32,
}

impl Ask for Plan {
    type Question = RebalanceQuestion;
    type Answer = Vec<ProposedMove>;
    type Verdict = Vec<rebalance::Move>;
    const HOOK: Hook = Hook::Rebalance;
    const KIND: &'static str = "rebalance";

    fn of(question: &RebalanceQuestion) -> Self {
        Self { movable: question.movable.clone(), moves_max: question.moves_max }
    }

    fn put(&self, entry: Entry<'_>) -> wasmtime::Result<Result<Self::Verdict, types::Failure>> {
        let hook = exported(entry.exports.rebalance.as_ref(), Self::HOOK)?;
        hook.call_plan(entry.store, entry.context, entry.view, &self.movable, self.moves_max)
    }

    fn read(
        verdict: Self::Verdict,
        view: &ClusterView,
        question: &RebalanceQuestion,
    ) -> Result<Vec<ProposedMove>, PolicyFailure> {
        let proposed = |m: rebalance::Move| ProposedMove {
            app: m.app,
            target: m.target,
            gain: m.gain,
            reason: reason(&m.reason),
        };
        let moves: Vec<_> = verdict.into_iter().map(proposed).collect();
        check(view, question, &moves).map(|()| moves)
    }
}
