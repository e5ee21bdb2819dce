//! Asks a plugin what others were asked before, shows it what they were shown, and compares.

use std::{collections::BTreeSet, path::Path};

use flocker_model::Timestamp;
use flocker_planner::PolicyFailure;
use serde_json::{Value, json};

use crate::{
    contract::Hook,
    engine::Limits,
    guest::{Blueprint, Guest, Moment},
    hooks::{self, Ask},
    host::{Configured, PluginHost},
    own_limits::OwnLimits,
    plugin::Plugin,
    record::{self, Asked},
    view::{Source, Unseen},
};

/// What came of asking old questions again.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReplayReport {
    /// Questions that were asked.
    pub asked: u64,
    /// Answered as before, to the last bit.
    pub same: u64,
    /// Answered otherwise.
    pub different: Vec<Difference>,
    /// Not answered, as the plugin looked at what was not recorded then.
    pub unanswerable: Vec<Difference>,
    /// Files that end before they should.
    pub damaged: Vec<std::path::PathBuf>,
}

/// A question that is answered otherwise now.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The decision it was asked for.
    pub decision: String,
    /// The kind of question: "placement", "rebalance", "failover", "schedule" or "prune".
    pub kind: String,
    /// When it was asked.
    pub at: Timestamp,
    /// What was asked, in the words of `wit/`; rows are those of the cluster then.
    pub question: Value,
    /// What was answered then, by whom.
    pub then: Value,
    /// What is answered now.
    pub now: Value,
}

/// Why nothing was asked again.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The plugin cannot be loaded.
    #[error(transparent)]
    Load(#[from] crate::LoadError),
    /// The records cannot be read.
    #[error(
        "the records cannot be read: {0}\nhint: they are in the folder `records` of a node's state folder"
    )]
    Records(String),
}

impl PluginHost {
    /// Asks a plugin, which need not be loaded, the questions in a folder of records since a time, each under the limits
    /// that it was asked under then; limits of its own come before those. Where a plugin of its
    /// name was asked, it is compared with that one; otherwise with whoever was asked.
    ///
    /// # Errors
    /// [`ReplayError`] when the plugin cannot be loaded or the folder cannot be read.
    pub fn replay(
        &self,
        configured: &Configured,
        folder: &Path,
        since: Timestamp,
    ) -> Result<ReplayReport, ReplayError> {
        let plugin = self.prepare(configured)?;
        let wanted = |asked: &Asked| asked.context.now_ms >= since.0 && answers(&plugin, asked);
        let records =
            record::read(folder, &wanted).map_err(|e| ReplayError::Records(e.to_string()))?;
        let namesakes: BTreeSet<_> = records
            .asked
            .iter()
            .filter(|a| a.plugin == plugin.loaded.name)
            .map(|a| a.kind.clone())
            .collect();
        let of = |a: &Asked| (a.context.decision_id.clone(), a.kind.clone());
        let named = |a: &&Asked| a.plugin == plugin.loaded.name;
        let counted: BTreeSet<_> =
            records.asked.iter().filter(named).filter(|a| !a.context.shadow).map(of).collect();
        // Where a new build was tried out beside the present one, what counted is what is compared.
        let tried_out = |a: &Asked| a.context.shadow && counted.contains(&of(a));
        let mut replay = Replay {
            plugin: &plugin,
            limits: self.limits(),
            blueprint: plugin.blueprint.clone(),
            own: configured.limits,
            guest: None,
            report: ReplayReport { damaged: records.damaged, ..ReplayReport::default() },
        };
        for asked in &records.asked {
            let concerned = named(&asked) || !namesakes.contains(&asked.kind);
            if concerned && !(named(&asked) && tried_out(asked)) {
                replay.again(asked);
            }
        }
        Ok(replay.report)
    }
}

/// Whether a plugin has an opinion on such a question.
fn answers(plugin: &Plugin, asked: &Asked) -> bool {
    let hook = [
        (hooks::Evaluate::KIND, Hook::Placement),
        (hooks::Plan::KIND, Hook::Rebalance),
        (hooks::Decide::KIND, Hook::Failover),
        (hooks::Next::KIND, Hook::BackupSchedule),
        (hooks::Prune::KIND, Hook::BackupSchedule),
    ];
    hook.iter().any(|(kind, hook)| asked.kind == *kind && plugin.loaded.hooks.contains(hook))
}

struct Replay<'a> {
    plugin: &'a Plugin,
    /// Everybody's.
    limits: &'a Limits,
    blueprint: Blueprint,
    /// Whose limits the blueprint and the instance have.
    own: OwnLimits,
    guest: Option<Guest>,
    report: ReplayReport,
}

impl Replay<'_> {
    fn again(&mut self, asked: &Asked) {
        match asked.kind.as_str() {
            hooks::Evaluate::KIND => self.ask::<hooks::Evaluate>(asked),
            hooks::Plan::KIND => self.ask::<hooks::Plan>(asked),
            hooks::Decide::KIND => self.ask::<hooks::Decide>(asked),
            hooks::Next::KIND => self.ask::<hooks::Next>(asked),
            hooks::Prune::KIND => self.ask::<hooks::Prune>(asked),
            _ => {}
        }
    }

    fn ask<Q: Ask>(&mut self, asked: &Asked) {
        let Ok(question) = postcard::from_bytes::<Q>(&asked.question) else { return };
        self.report.asked += 1;
        let verdict = self.put(asked, &question);
        let same = match (&verdict, &asked.verdict) {
            (Ok(now), Ok(then)) => record::bytes(now) == *then,
            // What a trap says may name functions, which another build calls otherwise.
            (Err(now), Err((class, _))) => now.class == *class,
            (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
        };
        if same {
            self.report.same += 1;
            return;
        }
        let by = format!("{} {}", asked.plugin, asked.version);
        let then = match &asked.verdict {
            Ok(bytes) => shown(postcard::from_bytes::<Q::Verdict>(bytes).ok().as_ref()),
            Err((class, message)) => json!({ "failed": class, "message": message }),
        };
        let now = match &verdict {
            Ok(verdict) => shown(Some(verdict)),
            Err(failure) => json!({ "failed": failure.class, "message": failure.message }),
        };
        let difference = Difference {
            decision: asked.context.decision_id.clone(),
            kind: asked.kind.clone(),
            at: Timestamp(asked.context.now_ms),
            question: shown(Some(&question)),
            then: json!({ "by": by, "verdict": then }),
            now,
        };
        match verdict {
            Err(failure) if failure.class == Unseen::CLASS => {
                self.report.unanswerable.push(difference);
            }
            Ok(_) | Err(_) => self.report.different.push(difference),
        }
    }

    /// An instance has the limits that it was made with.
    fn limit(&mut self, own: OwnLimits) {
        if own != self.own {
            (self.own, self.guest) = (own, None);
            self.blueprint = self.plugin.blueprint.clone().with_limits(own.over(self.limits));
        }
    }

    fn put<Q: Ask>(&mut self, asked: &Asked, question: &Q) -> Result<Q::Verdict, PolicyFailure> {
        self.limit(self.plugin.limits.or(asked.limits));
        let blueprint = &self.blueprint;
        let guest = match self.guest.take() {
            Some(guest) => guest,
            None => {
                let moment =
                    Moment { now: Timestamp(asked.context.now_ms), seed: asked.context.seed };
                blueprint.start_configured(moment, &self.plugin.settings)?
            }
        };
        let source = Source::Recorded(std::sync::Arc::clone(&asked.seen));
        let (guest, _, verdict) = blueprint.ask(guest, &asked.context, &source, question);
        self.guest = guest;
        verdict
    }
}

fn shown<V: serde::Serialize>(verdict: Option<&V>) -> Value {
    verdict.and_then(|v| serde_json::to_value(v).ok()).unwrap_or(Value::Null)
}
