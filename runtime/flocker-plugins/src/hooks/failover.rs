//! What becomes of the volumes of a silent node.

use std::time::Duration;

use flocker_planner::{ClusterView, Course, Incident, PolicyFailure, Verdict, failover::check};
use serde::{Deserialize, Serialize};

use super::{Ask, Entry, exported, reason};
use crate::{
    bindings::{exports::flocker::plugin::failover, flocker::plugin::types},
    contract::Hook,
    record,
};

/// `failover.decide`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Decide {
    incident: failover::Incident,
    volumes: Vec<u32>,
}

impl Ask for Decide {
    type Question = Incident;
    type Answer = Vec<Verdict>;
    type Verdict = Vec<failover::Decision>;
    const HOOK: Hook = Hook::Failover;
    const KIND: &'static str = "failover";

    fn of(question: &Incident) -> Self {
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

    fn subject(&self) -> Vec<u8> {
        record::bytes(&(self.incident.node, self.incident.fenced, &self.volumes))
    }

    fn put(&self, entry: Entry<'_>) -> wasmtime::Result<Result<Self::Verdict, types::Failure>> {
        let hook = exported(entry.exports.failover.as_ref(), Self::HOOK)?;
        hook.call_decide(entry.store, entry.context, entry.view, &self.incident, &self.volumes)
    }

    fn read(
        verdict: Self::Verdict,
        view: &ClusterView,
        question: &Incident,
    ) -> Result<Vec<Verdict>, PolicyFailure> {
        let ruled = |d: failover::Decision| {
            Ok(Verdict { course: course(d.code, d.replica, d.wait_ms)?, reason: reason(&d.reason) })
        };
        let verdicts = verdict.into_iter().map(ruled).collect::<Result<Vec<_>, PolicyFailure>>()?;
        check(view, question, &verdicts).map(|()| verdicts)
    }
}

/// A code that this host does not know stands for something bolder or subtler than it can do, so it is as careful as can
/// be.
fn course(code: u32, replica: Option<u32>, wait_ms: u32) -> Result<Course, PolicyFailure> {
    match (code, replica) {
        (0, _) => Ok(Course::Wait { again: Duration::from_millis(wait_ms.into()) }),
        (1, Some(replica)) => Ok(Course::Promote { replica }),
        (1, None) => Err(PolicyFailure {
            class: "invalid-answer".into(),
            message: "it promotes, and does not say which replica".into(),
        }),
        (_, _) => Ok(Course::Freeze),
    }
}
