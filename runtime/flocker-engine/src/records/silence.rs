//! How it is written down that a node stays silent, and what was decided about its volumes. What is written is also what
//! `explain` shows to machines.

use flocker_model::{AppName, NodeName, Timestamp};
use flocker_planner::{
    Course, Failed, PolicyFailure,
    plan::silence::{Fate, Opinion, Silence},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

use super::{Bytes, Record, RecordError, millis, name, optional, read, write};

record!(Silence, StoredSilence, "silence/", |silence| silence.node.to_string());

#[derive(Serialize, Deserialize)]
struct StoredSilence {
    node: String,
    since_ms: u64,
    decision: String,
    decided_ms: u64,
    votes: u32,
    quorum: u32,
    volumes: Vec<StoredFate>,
    failures: Vec<StoredFailure>,
}

#[derive(Serialize, Deserialize)]
struct StoredFate {
    volume: String,
    app: Option<String>,
    #[serde(flatten)]
    course: StoredCourse,
    held_back: Option<String>,
    said: Vec<StoredOpinion>,
}

#[derive(Serialize, Deserialize)]
struct StoredOpinion {
    policy: String,
    shadow: bool,
    #[serde(flatten)]
    course: StoredCourse,
    reason: String,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "course", rename_all = "lowercase")]
enum StoredCourse {
    Promote { replica: String },
    Wait { again_ms: u64 },
    Freeze,
}

#[derive(Serialize, Deserialize)]
struct StoredFailure {
    policy: String,
    class: String,
    message: String,
}

impl From<&Silence> for StoredSilence {
    fn from(s: &Silence) -> Self {
        let failure = |f: &Failed| StoredFailure {
            policy: f.policy.clone(),
            class: f.failure.class.clone(),
            message: f.failure.message.clone(),
        };
        Self {
            node: s.node.to_string(),
            since_ms: s.since.0,
            decision: s.decision.to_string(),
            decided_ms: s.decided.0,
            votes: s.votes,
            quorum: s.quorum,
            volumes: s.fates.iter().map(StoredFate::from).collect(),
            failures: s.failures.iter().map(failure).collect(),
        }
    }
}

impl From<&Fate> for StoredFate {
    fn from(fate: &Fate) -> Self {
        let said = |o: &Opinion| StoredOpinion {
            policy: o.policy.clone(),
            shadow: o.shadow,
            course: (&o.course).into(),
            reason: o.reason.clone(),
        };
        Self {
            volume: fate.volume.to_string(),
            app: fate.app.as_ref().map(ToString::to_string),
            course: (&fate.course).into(),
            held_back: fate.held_back.clone(),
            said: fate.opinions.iter().map(said).collect(),
        }
    }
}

impl From<&Course<NodeName>> for StoredCourse {
    fn from(course: &Course<NodeName>) -> Self {
        match course {
            Course::Promote { replica } => Self::Promote { replica: replica.to_string() },
            Course::Wait { again } => Self::Wait { again_ms: millis(*again) },
            Course::Freeze => Self::Freeze,
        }
    }
}

impl StoredSilence {
    fn into_model(self) -> Result<Silence, String> {
        let failure = |f: StoredFailure| Failed {
            policy: f.policy,
            failure: PolicyFailure { class: f.class, message: f.message },
        };
        Ok(Silence {
            node: name(self.node)?,
            since: Timestamp(self.since_ms),
            decision: name(self.decision)?,
            decided: Timestamp(self.decided_ms),
            votes: self.votes,
            quorum: self.quorum,
            fates: self
                .volumes
                .into_iter()
                .map(StoredFate::into_model)
                .collect::<Result<_, _>>()?,
            failures: self.failures.into_iter().map(failure).collect(),
        })
    }
}

impl StoredFate {
    fn into_model(self) -> Result<Fate, String> {
        let said = |o: StoredOpinion| {
            let StoredOpinion { policy, shadow, course, reason } = o;
            Ok::<_, String>(Opinion { policy, shadow, course: course.into_model()?, reason })
        };
        Ok(Fate {
            volume: name(self.volume)?,
            app: optional(self.app)?,
            course: self.course.into_model()?,
            held_back: self.held_back,
            opinions: self.said.into_iter().map(said).collect::<Result<_, _>>()?,
        })
    }
}

impl StoredCourse {
    fn into_model(self) -> Result<Course<NodeName>, String> {
        Ok(match self {
            Self::Promote { replica } => Course::Promote { replica: name(replica)? },
            Self::Wait { again_ms } => Course::Wait { again: Duration::from_millis(again_ms) },
            Self::Freeze => Course::Freeze,
        })
    }
}

/// What of it is about one app, for machines.
pub(crate) fn about(silence: &Silence, app: &AppName) -> serde_json::Value {
    let mut stored = StoredSilence::from(silence);
    stored.volumes.retain(|fate| fate.app.as_deref() == Some(app.as_str()));
    // Texts and numbers have no way to fail.
    serde_json::to_value(stored).unwrap_or_default()
}
