//! Scenario files: a made-up cluster, questions about it, and what is expected of the answers. Knows nothing of plugins;
//! whoever answers is [`Policies`].

mod ask;
mod cluster;
mod compare;
mod quantity;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use flocker_planner::Policies;
use flocker_plugins::Hook;
use serde::Deserialize;

use self::{
    ask::Ask,
    cluster::Cluster,
    quantity::{Bytes, Moment, Span},
};

/// A scenario, as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scenario {
    #[serde(default)]
    settings: serde_json::Map<String, serde_json::Value>,
    cluster: Cluster,
    #[serde(default)]
    placement: Vec<Placement>,
    #[serde(default)]
    rebalance: Vec<Rebalance>,
    #[serde(default)]
    failover: Vec<Failover>,
    #[serde(default)]
    schedule: Vec<Schedule>,
    #[serde(default)]
    prune: Vec<Prune>,
}

/// "Where should this app be?"
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Placement {
    app: String,
    #[serde(default)]
    seed: u64,
    purpose: Option<Purpose>,
    memory_bytes: Option<Bytes>,
    cpu_millis: Option<u32>,
    size_bytes: Option<Bytes>,
    labels: Option<BTreeMap<String, String>>,
    expect: ExpectPlacement,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Purpose {
    Create,
    Operator,
    Drain,
    Rebalance,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectPlacement {
    node: Option<String>,
    refused: Option<Vec<String>>,
    order: Option<Vec<String>>,
    scores: Option<BTreeMap<String, u32>>,
    reasons: Option<BTreeMap<String, String>>,
    failure: Option<String>,
}

/// "Which of these apps should move, and where to?"
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Rebalance {
    #[serde(default)]
    seed: u64,
    movable: Option<Vec<String>>,
    max_moves: Option<u32>,
    expect: ExpectRebalance,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectRebalance {
    moves: Option<Vec<Move>>,
    failure: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Move {
    app: String,
    target: String,
}

/// "This node is silent. What is to be done about its volumes?"
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Failover {
    node: String,
    #[serde(default)]
    seed: u64,
    silent_ms: Span,
    fenced: bool,
    votes: u32,
    quorum: u32,
    volumes: Option<Vec<String>>,
    expect: ExpectFailover,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectFailover {
    courses: Option<BTreeMap<String, String>>,
    failure: Option<String>,
}

/// "What is due?"
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Schedule {
    #[serde(default)]
    seed: u64,
    volumes: Option<Vec<String>>,
    horizon_ms: Span,
    expect: ExpectSchedule,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ExpectSchedule {
    due: Option<Vec<Due>>,
    ask_again_ms: Option<Span>,
    failure: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Due {
    volume: String,
    lane: String,
    at_ms: Option<Moment>,
    label: Option<String>,
}

/// "Which of these may go?"
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Prune {
    volume: String,
    #[serde(default)]
    seed: u64,
    lane: String,
    copies: Vec<Copied>,
    expect: ExpectPrune,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Copied {
    tag: String,
    taken_ms: Moment,
    #[serde(default)]
    label: String,
    bytes: Option<Bytes>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectPrune {
    kept: Option<Vec<String>>,
    dropped: Option<Vec<String>>,
    failure: Option<String>,
}

/// What came of one question.
#[derive(Debug)]
pub(super) struct Outcome {
    /// What was asked, for people.
    pub(super) title: String,
    /// What is not as expected; nothing when all is.
    pub(super) mismatches: Vec<Mismatch>,
    /// What was answered.
    pub(super) said: Said,
}

/// An answer, for people.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) text: String,
    /// The same, with what is too long to be read.
    pub(super) whole: String,
    /// What a node would not do of it, and why.
    pub(super) remarks: Vec<String>,
}

impl From<String> for Said {
    fn from(text: String) -> Self {
        Self { whole: text.clone(), text, remarks: Vec::new() }
    }
}

/// One thing that is not as expected.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mismatch {
    /// Which thing.
    pub(super) what: String,
    /// As it is written in the scenario.
    pub(super) expected: String,
    /// In the same form.
    pub(super) got: String,
}

impl Scenario {
    /// Reads a file's text; its name says whether it is JSON.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub(super) fn parse(text: &str, is_json: bool) -> Result<Self, String> {
        if is_json {
            serde_json::from_str(text).map_err(|e| e.to_string())
        } else {
            toml::from_str(text).map_err(|e| e.to_string().trim_end().to_owned())
        }
    }

    /// The settings that the plugin is to have, as JSON.
    pub(super) fn settings(&self) -> String {
        serde_json::Value::Object(self.settings.clone()).to_string()
    }

    /// Puts all questions, in the order of this file's keys.
    ///
    /// # Errors
    /// A scenario that asks for what is not there, names what does not exist, or expects nothing.
    pub(super) fn ask(
        &self,
        policies: &dyn Policies,
        hooks: &[Hook],
    ) -> Result<Vec<Outcome>, String> {
        let view = self.cluster.view()?;
        let placement = self.placement.iter().map(|q| q as &dyn Ask);
        let questions: Vec<_> = placement
            .chain(self.rebalance.iter().map(|q| q as &dyn Ask))
            .chain(self.failover.iter().map(|q| q as &dyn Ask))
            .chain(self.schedule.iter().map(|q| q as &dyn Ask))
            .chain(self.prune.iter().map(|q| q as &dyn Ask))
            .collect();
        if questions.is_empty() {
            return Err("it asks nothing".into());
        }
        let ask = |(question, title): (&&dyn Ask, String)| {
            let within = |e| format!("{title}: {e}");
            if !hooks.contains(&question.hook()) {
                let all: Vec<_> = hooks.iter().map(|h| h.as_str()).collect();
                let hook = question.hook();
                return Err(within(format!(
                    "the plugin has no hook `{hook}`; it has {}",
                    all.join(", ")
                )));
            }
            let (compared, said) = question.put(&view, policies).map_err(within)?;
            let mismatches = compared.mismatches().map_err(within)?;
            Ok(Outcome { title, mismatches, said })
        };
        let titles = told_apart(questions.iter().map(|question| question.title()).collect());
        questions.iter().zip(titles).map(ask).collect()
    }
}

/// Titles with a number where several are the same.
fn told_apart(titles: Vec<String>) -> Vec<String> {
    let same = |among: &[String], title: &String| among.iter().filter(|t| *t == title).count();
    let told = |(idx, title): (usize, &String)| match same(&titles, title) {
        1 => title.clone(),
        all => format!("{title}, {} of {all}", same(&titles[..=idx], title)),
    };
    titles.iter().enumerate().map(told).collect()
}
