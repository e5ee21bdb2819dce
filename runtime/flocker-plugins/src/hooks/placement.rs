//! Where an app should be.

use flocker_planner::{Answer, PlacementQuestion, Reason};
use serde::{Deserialize, Serialize};
use wasmtime::{Store, component::Resource};

use super::{Ask, exported, reason};
use crate::{
    bindings::{exports::flocker::plugin::placement, flocker::plugin::types},
    contract::Hook,
    guest::Exports,
    state::State,
    view::View,
};

/// `placement.evaluate`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Evaluate {
    request: placement::Request,
    candidates: Vec<u32>,
}

impl Ask for Evaluate {
    type Verdict = placement::Verdict;
    const HOOK: Hook = Hook::Placement;
    const KIND: &'static str = "placement";

    fn put(
        &self,
        store: &mut Store<State>,
        exports: &Exports,
        context: &types::Context,
        view: Resource<View>,
    ) -> wasmtime::Result<Result<Self::Verdict, types::Failure>> {
        let hook = exported(exports.placement.as_ref(), Self::HOOK)?;
        hook.call_evaluate(store, context, view, &self.request, &self.candidates)
    }
}

impl From<&PlacementQuestion> for Evaluate {
    fn from(question: &PlacementQuestion) -> Self {
        let label = |(key, value): (&String, &String)| types::Attr {
            key: format!("label:{key}"),
            value: value.clone(),
        };
        let request = placement::Request {
            kind: "app".into(),
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
}

/// The verdict, as the planner knows it.
pub(crate) fn answer(verdict: placement::Verdict) -> Answer {
    let said = |r: placement::Reason| Reason {
        candidate: r.candidate,
        code: r.code,
        text: reason(&r.text),
    };
    // A few per candidate are plenty; a flood of them is not kept.
    let reasons_max = verdict.scores.len().saturating_mul(4);
    Answer {
        reasons: verdict.reasons.into_iter().take(reasons_max).map(said).collect(),
        scores: verdict.scores,
        ask_again_ms: verdict.ask_again_ms,
    }
}
