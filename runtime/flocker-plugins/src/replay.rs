//! Asks a plugin what others were asked before, shows it what they were shown, and compares.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use flocker_model::Timestamp;
use flocker_planner::PolicyFailure;
use serde_json::{Value, json};

use crate::{
    contract::Hook,
    engine::Limits,
    guest::{Blueprint, Guest, Moment},
    hooks::{self, Ask},
    host::{Configured, PluginHost},
    load::LoadError,
    own_limits::OwnLimits,
    plugin::Loaded,
    record::{self, Asked},
    settings,
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
    /// Not comparable: the plugin looked at what was not recorded then, or has no such settings.
    pub unanswerable: Vec<Difference>,
    /// Questions of which was not recorded with what settings they were answered: they were asked with none.
    pub without_settings: u64,
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
    /// What was asked, in the words of `wit/`, with names in the place of rows; what was recorded without names has the
    /// rows of the cluster then.
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
    Load(#[from] LoadError),
    /// The records cannot be read.
    #[error(
        "the records cannot be read: {0}\nhint: they are in the folder `records` of a node's state folder"
    )]
    Records(String),
}

impl PluginHost {
    /// Asks a plugin, which need not be loaded, the questions in a folder of records since a time. Where a plugin of its
    /// name was asked, it is compared with that one; otherwise with whoever was asked.
    ///
    /// Each question is asked with the settings that its namesake had then, and under the limits of then. What
    /// `configured` has of them comes first.
    ///
    /// # Errors
    /// [`ReplayError`] when the plugin cannot be loaded or the folder cannot be read.
    pub fn replay(
        &self,
        configured: &Configured,
        folder: &Path,
        since: Timestamp,
    ) -> Result<ReplayReport, ReplayError> {
        let refused = |reason| LoadError { path: configured.path.clone(), reason };
        let (plugin, blueprint) =
            self.open(&configured.path, configured.limits).map_err(refused)?;
        let given = (!configured.settings.trim().is_empty()).then(|| &*configured.settings);
        if let Some(given) = given {
            let fit = |document| settings::check(&plugin.settings_schema, &document);
            settings::parse(given).and_then(fit).map_err(refused)?;
        }
        let wanted = |asked: &Asked| asked.context.now_ms >= since.0 && answers(&plugin, asked);
        let records =
            record::read(folder, &wanted).map_err(|e| ReplayError::Records(e.to_string()))?;
        let namesakes: BTreeSet<_> = records
            .asked
            .iter()
            .filter(|a| a.plugin == plugin.name)
            .map(|a| a.kind.clone())
            .collect();
        let of = |a: &Asked| (a.context.decision_id.clone(), a.kind.clone());
        let named = |a: &&Asked| a.plugin == plugin.name;
        let counted: BTreeSet<_> =
            records.asked.iter().filter(named).filter(|a| !a.context.shadow).map(of).collect();
        // Where a new build was tried out beside the present one, what counted is what is compared.
        let tried_out = |a: &Asked| a.context.shadow && counted.contains(&of(a));
        let mut replay = Replay {
            plugin: &plugin,
            configured,
            given: given.map(Arc::from),
            limits: self.limits(),
            blueprint,
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
fn answers(plugin: &Loaded, asked: &Asked) -> bool {
    let hook = [
        (hooks::Evaluate::KIND, Hook::Placement),
        (hooks::Plan::KIND, Hook::Rebalance),
        (hooks::Decide::KIND, Hook::Failover),
        (hooks::Next::KIND, Hook::BackupSchedule),
        (hooks::Prune::KIND, Hook::BackupSchedule),
    ];
    hook.iter().any(|(kind, hook)| asked.kind == *kind && plugin.hooks.contains(hook))
}

struct Replay<'a> {
    plugin: &'a Loaded,
    configured: &'a Configured,
    /// The settings to ask with, whatever they were then.
    given: Option<Arc<str>>,
    /// Everybody's.
    limits: &'a Limits,
    blueprint: Blueprint,
    /// An instance, and the settings and limits that it was made with.
    guest: Option<(Guest, Conditions)>,
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
        let was_its_own = asked.plugin == self.plugin.name;
        if was_its_own && asked.settings.is_none() && self.given.is_none() {
            self.report.without_settings += 1;
        }
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
        let named = |mut value: Value| {
            if let Some(names) = &asked.names {
                names.put_into(&mut value);
            }
            value
        };
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
            question: named(shown(Some(&question))),
            then: json!({ "by": by, "verdict": named(then) }),
            now: named(now),
        };
        match verdict {
            Err(failure) if [Unseen::CLASS, OTHER_SETTINGS].contains(&&*failure.class) => {
                self.report.unanswerable.push(difference);
            }
            Ok(_) | Err(_) => self.report.different.push(difference),
        }
    }

    /// What a question is asked under.
    fn conditions(&self, asked: &Asked) -> Conditions {
        let was_its_own = asked.plugin == self.plugin.name;
        let recorded = asked.settings.as_ref().filter(|_| was_its_own);
        Conditions {
            settings: self
                .given
                .as_ref()
                .or(recorded)
                .map_or_else(|| settings::NONE.into(), Arc::clone),
            limits: self.configured.limits.or(asked.limits),
        }
    }

    fn put<Q: Ask>(&mut self, asked: &Asked, question: &Q) -> Result<Q::Verdict, PolicyFailure> {
        let conditions = self.conditions(asked);
        let guest = match self.guest.take().filter(|(_, of)| *of == conditions) {
            Some((guest, _)) => guest,
            None => self.start(asked, &conditions)?,
        };
        let source = Source::Recorded(Arc::clone(&asked.seen));
        let (guest, _, verdict) = self.blueprint.ask(guest, &asked.context, &source, question);
        self.guest = guest.map(|guest| (guest, conditions));
        verdict
    }

    fn start(&mut self, asked: &Asked, conditions: &Conditions) -> Result<Guest, PolicyFailure> {
        let Conditions { settings, limits } = conditions;
        let fit = |document| settings::check(&self.plugin.settings_schema, &document);
        settings::parse(settings).and_then(fit).map_err(|refusal| PolicyFailure {
            class: OTHER_SETTINGS.into(),
            message: format!("with the settings of then `{settings}`, {refusal}"),
        })?;
        self.blueprint = self.blueprint.clone().with_limits(limits.over(self.limits));
        let moment = Moment { now: Timestamp(asked.context.now_ms), seed: asked.context.seed };
        self.blueprint.start_configured(moment, settings)
    }
}

/// The class of the failure that settings lead to which a plugin does not have.
const OTHER_SETTINGS: &str = "other-settings";

/// What a plugin is given beside a question.
#[derive(PartialEq, Eq)]
struct Conditions {
    settings: Arc<str>,
    limits: OwnLimits,
}

fn shown<V: serde::Serialize>(verdict: Option<&V>) -> Value {
    verdict.and_then(|v| serde_json::to_value(v).ok()).unwrap_or(Value::Null)
}
