//! Between the planner's question and the wire: the only place that knows both forms of placement.

use std::sync::Arc;

use flocker_planner::{Answer, ClusterView, PlacementQuestion, PolicyFailure, Reason};

use crate::{
    bindings::{exports::flocker::plugin::placement, flocker::plugin::types},
    chatter::tame,
    guest::{Blueprint, Guest, Moment, Spent},
};

/// The longest reason that is kept.
const REASON_CHARS_MAX: usize = 200;

/// Asks one instance. `shadow` tells it that its answer will not be acted on.
pub(crate) fn ask(
    blueprint: &Blueprint,
    guest: Guest,
    view: &Arc<ClusterView>,
    question: &PlacementQuestion,
    shadow: bool,
) -> (Option<Guest>, Spent, Result<Answer, PolicyFailure>) {
    let moment = Moment { now: view.now, seed: question.seed };
    let context = context(view, question, shadow);
    let request = request(question);
    let (guest, spent, verdict) = blueprint.call(guest, moment, |store, exports| {
        let Some(placement) = &exports.placement else {
            return Err(wasmtime::Error::msg("it exports no `placement`"));
        };
        let lent = store.data_mut().lend(view)?;
        let rep = lent.rep();
        let verdict =
            placement.call_evaluate(&mut *store, &context, lent, &request, &question.candidates)?;
        store.data_mut().take_back(wasmtime::component::Resource::new_own(rep))?;
        Ok(verdict)
    });
    (guest, spent, verdict.map(answer))
}

fn context(view: &ClusterView, question: &PlacementQuestion, shadow: bool) -> types::Context {
    types::Context {
        decision_id: question.decision.to_string(),
        now_ms: view.now.0,
        seed: question.seed,
        generation: view.generation.0,
        shadow,
        attrs: Vec::new(),
    }
}

fn request(question: &PlacementQuestion) -> placement::Request {
    let label = |(key, value): (&String, &String)| types::Attr {
        key: format!("label:{key}"),
        value: value.clone(),
    };
    placement::Request {
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
    }
}

fn answer(verdict: placement::Verdict) -> Answer {
    let reason = |r: placement::Reason| Reason {
        candidate: r.candidate,
        code: r.code,
        text: tame(&r.text, REASON_CHARS_MAX),
    };
    // A few per candidate are plenty; a flood of them is not kept.
    let reasons_max = verdict.scores.len().saturating_mul(4);
    Answer {
        reasons: verdict.reasons.into_iter().take(reasons_max).map(reason).collect(),
        scores: verdict.scores,
        ask_again_ms: verdict.ask_again_ms,
    }
}
