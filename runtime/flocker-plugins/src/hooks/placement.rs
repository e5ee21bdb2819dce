//! Where an app should be.

use flocker_planner::{Answer, ClusterView, PlacementQuestion, PolicyFailure, Reason};
use serde::{Deserialize, Serialize};

use super::{Ask, Entry, exported, reason};
use crate::{
    bindings::{exports::flocker::plugin::placement, flocker::plugin::types},
    contract::Hook,
};

/// `placement.evaluate`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Evaluate {
    request: placement::Request,
    candidates: Vec<u32>,
}

impl Ask for Evaluate {
    type Question = PlacementQuestion;
    type Answer = Answer;
    type Verdict = placement::Verdict;
    const HOOK: Hook = Hook::Placement;
    const KIND: &'static str = "placement";

    fn of(question: &PlacementQuestion) -> Self {
        let label = |(key, value): (&String, &String)| types::Attr {
            key: format!("label:{key}"),
            value: value.clone(),
        };
        let request = placement::Request {
            kind: question.what.to_string(),
            purpose: question.purpose.to_string(),
            name: question.name.to_string(),
            apps: question.app.into_iter().collect(),
            volumes: question.volumes.clone(),
            current: question.current,
            count: 1,
            size_bytes: question.size.0,
            memory_bytes: question.memory.0,
            cpu_millis: question.cpu.0,
            holders: question.holders.clone(),
            // What the hard rules exclude is not among the candidates, and is nobody's business beyond that.
            excluded: Vec::new(),
            attrs: question.labels.iter().map(label).collect(),
        };
        Self { request, candidates: question.candidates.clone() }
    }

    fn put(&self, entry: Entry<'_>) -> wasmtime::Result<Result<Self::Verdict, types::Failure>> {
        let hook = exported(entry.exports.placement.as_ref(), Self::HOOK)?;
        hook.call_evaluate(entry.store, entry.context, entry.view, &self.request, &self.candidates)
    }

    fn read(
        verdict: Self::Verdict,
        _: &ClusterView,
        question: &PlacementQuestion,
    ) -> Result<Answer, PolicyFailure> {
        let said = |r: placement::Reason| Reason {
            candidate: r.candidate,
            code: r.code,
            text: reason(&r.text),
        };
        // A few per candidate are plenty; a flood of them is not kept.
        let reasons_max = verdict.scores.len().saturating_mul(4);
        let answer = Answer {
            reasons: verdict.reasons.into_iter().take(reasons_max).map(said).collect(),
            scores: verdict.scores,
            ask_again_ms: verdict.ask_again_ms,
        };
        flocker_planner::check(question, &answer).map(|()| answer)
    }
}
