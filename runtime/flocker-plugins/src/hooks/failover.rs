//! What becomes of the volumes of a silent node.

use std::time::Duration;

use flocker_planner::{Course, Incident, PolicyFailure, Verdict};
use serde::{Deserialize, Serialize};
use wasmtime::{Store, component::Resource};

use super::{Ask, exported, reason};
use crate::{
    bindings::{exports::flocker::plugin::failover, flocker::plugin::types},
    contract::Hook,
    guest::Exports,
    state::State,
    view::View,
};

/// `failover.decide`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Decide {
    incident: failover::Incident,
    volumes: Vec<u32>,
}

impl Ask for Decide {
    type Verdict = Vec<failover::Decision>;
    const HOOK: Hook = Hook::Failover;
    const KIND: &'static str = "failover";

    fn put(
        &self,
        store: &mut Store<State>,
        exports: &Exports,
        context: &types::Context,
        view: Resource<View>,
    ) -> wasmtime::Result<Result<Self::Verdict, types::Failure>> {
        let hook = exported(exports.failover.as_ref(), Self::HOOK)?;
        hook.call_decide(store, context, view, &self.incident, &self.volumes)
    }
}

impl From<&Incident> for Decide {
    fn from(question: &Incident) -> Self {
        let incident = failover::Incident {
            node: question.node,
            silent_ms: u64::try_from(question.silent.as_millis()).unwrap_or(u64::MAX),
            fenced: question.fenced,
            votes: question.votes,
            quorum: question.quorum,
            attrs: Vec::new(),
        };
        Self { incident, volumes: question.volumes.clone() }
    }
}

/// The verdict, as the planner knows it. A code that this host does not know stands for something bolder or subtler
/// than it can do, so it is as careful as can be.
pub(crate) fn answer(verdict: Vec<failover::Decision>) -> Result<Vec<Verdict>, PolicyFailure> {
    let course = |decision: &failover::Decision| match (decision.code, decision.replica) {
        (0, _) => Ok(Course::Wait { again: Duration::from_millis(decision.wait_ms.into()) }),
        (1, Some(replica)) => Ok(Course::Promote { replica }),
        (1, None) => Err(PolicyFailure {
            class: "invalid-answer".into(),
            message: "it promotes, and does not say which replica".into(),
        }),
        (_, _) => Ok(Course::Freeze),
    };
    let ruled =
        |d: failover::Decision| Ok(Verdict { course: course(&d)?, reason: reason(&d.reason) });
    verdict.into_iter().map(ruled).collect()
}
