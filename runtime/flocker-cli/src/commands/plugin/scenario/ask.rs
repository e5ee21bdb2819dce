//! How each kind of question is put, and what of the answer is compared.

use std::{fmt::Write as _, time::Duration};

use flocker_model::{ByteSize, CpuMillis, OperationId, PlacementRules, Timestamp};
use flocker_planner::{
    BuiltIn, Copied, Course, Decision, Incident, PlacementQuestion, Policies, ProposedMove,
    PruneQuestion, RebalanceQuestion, ScheduleQuestion, Verdict, backups, failover, place,
    rebalance,
};
use flocker_plugins::Hook;

use super::{
    Failover, Placement, Prune, Purpose, Rebalance, Said, Schedule,
    cluster::{View, bytes, named},
    compare::{Compared, listed},
};

/// Moves that are wanted at most, where the scenario does not say.
const MOVES_MAX: u32 = 10;

/// One kind of question.
pub(super) trait Ask {
    /// What is asked, for people.
    fn title(&self) -> String;

    /// The hook that it is put to.
    fn hook(&self) -> Hook;

    /// Puts it, and compares; with the answer.
    ///
    /// # Errors
    /// When it names what is not in the cluster.
    fn put(&self, view: &View, policies: &dyn Policies) -> Result<(Compared, Said), String>;
}

fn decision() -> Result<OperationId, String> {
    named("scenario")
}

/// Where an app of this name had better be, as a node would ask about it that has no more to say.
fn about(view: &View, name: &str, seed: u64) -> Result<PlacementQuestion, String> {
    let row = view.app(name).ok();
    let app = row.and_then(|row| view.cluster.apps.get(row as usize));
    let volumes: Vec<u32> = match row {
        Some(_) => rows(&view.cluster.volumes, |v| v.app == row),
        None => vec![],
    };
    let holds = |node: u32| {
        let copy = |volume: &u32| {
            view.cluster.replicas.iter().any(|r| (r.volume, r.node) == (*volume, node))
        };
        !volumes.is_empty() && volumes.iter().all(copy)
    };
    Ok(PlacementQuestion {
        decision: decision()?,
        seed,
        what: flocker_planner::Placed::App,
        purpose: flocker_model::Purpose::Rebalance,
        name: named(name)?,
        app: row,
        current: app.and_then(|a| a.node),
        size: app.map_or(ByteSize(0), |a| a.size),
        memory: app.map_or(ByteSize(0), |a| a.memory),
        cpu: app.map_or(CpuMillis(0), |a| a.cpu),
        holders: (0..).zip(&view.cluster.nodes).map(|(n, _)| n).filter(|n| holds(*n)).collect(),
        volumes,
        labels: app.map(|a| a.labels.clone()).unwrap_or_default(),
        candidates: vec![],
    })
}

impl Placement {
    fn question(&self, view: &View) -> Result<PlacementQuestion, String> {
        let asked = about(view, &self.app, self.seed)?;
        let purpose = match (self.purpose, asked.current) {
            (Some(Purpose::Create), _) | (None, None) => flocker_model::Purpose::Create,
            (Some(Purpose::Operator), _) | (None, Some(_)) => flocker_model::Purpose::Operator,
            (Some(Purpose::Drain), _) => flocker_model::Purpose::Drain,
            (Some(Purpose::Rebalance), _) => flocker_model::Purpose::Rebalance,
        };
        Ok(PlacementQuestion {
            what: flocker_planner::Placed::App,
            purpose,
            size: self.size_bytes.map_or(asked.size, |b| b.0),
            memory: self.memory_bytes.map_or(asked.memory, |b| b.0),
            cpu: self.cpu_millis.map_or(asked.cpu, CpuMillis),
            labels: self.labels.clone().unwrap_or(asked.labels),
            ..asked
        })
    }

    fn compare(&self, view: &View, decision: &Decision) -> Result<Compared, String> {
        let mut compared = Compared::default();
        let expect = &self.expect;
        let failed = decision.failures.first().map(|f| &f.failure);
        if !compared.failure(expect.failure.as_ref(), failed) {
            return Ok(compared);
        }
        let exists = |name: &String| view.node(name).map(|_| name.clone());
        let all = |names: &[String]| names.iter().map(exists).collect::<Result<Vec<_>, _>>();
        let of = |refused: bool| {
            let nodes = decision.candidates.iter().filter(move |c| c.score.is_none() == refused);
            nodes.map(|c| c.node.to_string())
        };
        if let Some(node) = &expect.node {
            let got = decision.chosen.as_ref().map_or("none".to_owned(), ToString::to_string);
            compared.same("node", exists(node)?, got);
        }
        if let Some(refused) = &expect.refused {
            let (mut expected, mut got) = (all(refused)?, of(true).collect::<Vec<_>>());
            expected.sort();
            got.sort();
            compared.same("refused", listed(expected), listed(got));
        }
        if let Some(order) = &expect.order {
            compared.same("order", listed(all(order)?), listed(of(false)));
        }
        let candidate = |name: &String| {
            view.node(name)?;
            Ok::<_, String>(decision.candidates.iter().find(|c| c.node.as_str() == name))
        };
        for (node, score) in expect.scores.iter().flatten() {
            let got = candidate(node)?.map_or("it was excluded".to_owned(), |c| {
                c.score.map_or("refused".to_owned(), |s| s.to_string())
            });
            compared.same(&format!("score of {node}"), score.to_string(), got);
        }
        for (node, reason) in expect.reasons.iter().flatten() {
            let said = candidate(node)?.map_or(String::new(), |c| c.reasons.join("; "));
            let holds = said.contains(reason);
            compared.holds(&format!("reason of {node}"), holds, format!("… {reason} …"), said);
        }
        Ok(compared)
    }
}

impl Ask for Placement {
    fn title(&self) -> String {
        format!("placement of `{}`", self.app)
    }

    fn hook(&self) -> Hook {
        Hook::Placement
    }

    fn put(&self, view: &View, policies: &dyn Policies) -> Result<(Compared, Said), String> {
        let question = self.question(view)?;
        let rules = PlacementRules::default();
        let decision = place(&view.cluster, &rules, question, policies, &BuiltIn);
        let (text, whole) = (decision.to_string(), format!("{decision:#}"));
        Ok((self.compare(view, &decision)?, Said { text, whole, remarks: vec![] }))
    }
}

impl Ask for Rebalance {
    fn title(&self) -> String {
        "rebalance".to_owned()
    }

    fn hook(&self) -> Hook {
        Hook::Rebalance
    }

    fn put(&self, view: &View, policies: &dyn Policies) -> Result<(Compared, Said), String> {
        let movable = match &self.movable {
            Some(names) => sorted_rows(names, |name| view.app(name))?,
            None => rows(&view.cluster.apps, |a| a.node.is_some()),
        };
        let moves_max = self.max_moves.unwrap_or(MOVES_MAX);
        let question =
            RebalanceQuestion { decision: decision()?, seed: self.seed, movable, moves_max };
        let answers = policies.rebalance(&view.cluster, &question);
        let decided = rebalance::decide(&view.cluster, &question, answers);

        let moves = |app: &str, target: &str| format!("{app} -> {target}");
        let got = |m: &ProposedMove| moves(&view.app_name(m.app), &view.node_name(m.target));
        let mut compared = Compared::default();
        let failed = decided.consultation.failures.first().map(|f| &f.failure);
        if compared.failure(self.expect.failure.as_ref(), failed)
            && let Some(expected) = &self.expect.moves
        {
            for proposed in expected {
                view.app(&proposed.app)?;
                view.node(&proposed.target)?;
            }
            let expected = listed(expected.iter().map(|m| moves(&m.app, &m.target)));
            compared.same("moves", expected, listed(decided.moves.iter().map(|(_, m)| got(m))));
        }
        let (mut answer, mut remarks) = (String::new(), Vec::new());
        for (_, m) in &decided.moves {
            let _ = writeln!(answer, "{}   gain {}   {}", got(m), m.gain, m.reason);
            if let Some(why) = self.objection(view, policies, m)? {
                remarks.push(format!("{} would not be made: {why}", got(m)));
            }
        }
        Ok((compared, Said { remarks, ..answer.into() }))
    }
}

impl Rebalance {
    /// Why a node would not follow the proposal, if it would not.
    fn objection(
        &self,
        view: &View,
        policies: &dyn Policies,
        proposed: &ProposedMove,
    ) -> Result<Option<String>, String> {
        let question = about(view, &view.app_name(proposed.app), self.seed)?;
        let nodes = &view.cluster.nodes;
        let source = question.current.and_then(|row| nodes.get(row as usize));
        let (Some(source), Some(target)) = (source, nodes.get(proposed.target as usize)) else {
            return Ok(None);
        };
        let rules = PlacementRules::default();
        let decision = place(&view.cluster, &rules, question, policies, &BuiltIn);
        Ok(rebalance::objection(&source.name, &target.name, &decision))
    }
}

impl Ask for Failover {
    fn title(&self) -> String {
        format!("failover of node `{}`", self.node)
    }

    fn hook(&self) -> Hook {
        Hook::Failover
    }

    fn put(&self, view: &View, policies: &dyn Policies) -> Result<(Compared, Said), String> {
        let node = view.node(&self.node)?;
        let volumes = match &self.volumes {
            Some(names) => sorted_rows(names, |name| view.volume(name))?,
            None => rows(&view.cluster.volumes, |v| v.node == Some(node)),
        };
        let incident = Incident {
            decision: decision()?,
            seed: self.seed,
            node,
            silent: self.silent_ms.0,
            fenced: self.fenced,
            votes: self.votes,
            quorum: self.quorum,
            volumes,
        };
        // What the policy itself says: the host holds back what is not safe, and that is not the policy's merit.
        let answers = policies.fail_over(&view.cluster, &incident);
        let answer = answers.into_iter().next().map_or(Ok(vec![]), |a| a.answer);
        let answer = answer.and_then(|verdicts| {
            failover::check(&view.cluster, &incident, &verdicts).map(|()| verdicts)
        });

        let mut compared = Compared::default();
        let mut text = String::new();
        if compared.failure(self.expect.failure.as_ref(), answer.as_ref().err()) {
            let verdicts = answer.unwrap_or_default();
            let mut expected = self.expect.courses.clone().unwrap_or_default();
            for (row, Verdict { course, reason }) in incident.volumes.iter().zip(&verdicts) {
                let volume = view.volume_name(*row);
                let got = self::course(view, *course);
                let _ = writeln!(text, "{volume}: {got}   {reason}");
                if let Some(expected) = expected.remove(&volume) {
                    let expected = read_course(view, &expected)?;
                    let holds = got == expected || expected == "wait" && got.starts_with("wait ");
                    compared.holds(&format!("course of {volume}"), holds, expected, got);
                }
            }
            if let Some(volume) = expected.keys().next() {
                return Err(format!("it is not about a volume `{volume}`"));
            }
        }
        Ok((compared, text.into()))
    }
}

/// A course, as scenarios write it.
fn course(view: &View, course: Course) -> String {
    match course {
        Course::Promote { replica } => {
            let node = view.cluster.replicas.get(replica as usize).map(|r| r.node);
            format!("promote {}", node.map_or("none".to_owned(), |node| view.node_name(node)))
        }
        Course::Wait { again } => format!("wait {}", humantime::format_duration(again)),
        Course::Freeze => "freeze".to_owned(),
    }
}

/// The same course, written as [`course`] does; or `wait`, for however long.
fn read_course(view: &View, text: &str) -> Result<String, String> {
    let refuse = || format!("`{text}` is none of `promote NODE`, `wait`, `wait 5s`, `freeze`");
    match text.split_once(' ') {
        None if ["freeze", "wait"].contains(&text) => Ok(text.to_owned()),
        Some(("promote", node)) => view.node(node).map(|_| text.to_owned()),
        Some(("wait", span)) => {
            let again = humantime::parse_duration(span).map_err(|_| refuse())?;
            Ok(format!("wait {}", humantime::format_duration(again)))
        }
        Some(_) | None => Err(refuse()),
    }
}

impl Ask for Schedule {
    fn title(&self) -> String {
        "schedule".to_owned()
    }

    fn hook(&self) -> Hook {
        Hook::BackupSchedule
    }

    fn put(&self, view: &View, policies: &dyn Policies) -> Result<(Compared, Said), String> {
        let volumes = match &self.volumes {
            Some(names) => sorted_rows(names, |name| view.volume(name))?,
            None => rows(&view.cluster.volumes, |_| true),
        };
        let horizon = self.horizon_ms.0;
        let question =
            ScheduleQuestion { decision: decision()?, seed: self.seed, volumes, horizon };
        let answers = policies.schedule(&view.cluster, &question);
        let decided = backups::decide_schedule(&view.cluster, &question, answers);
        let mut compared = Compared::default();
        let failed = decided.consultation.failures.first().map(|f| &f.failure);
        if compared.failure(self.expect.failure.as_ref(), failed) {
            self.compare(view, &decided, &mut compared)?;
        }
        let mut answer = String::new();
        for due in &decided.due {
            let at = beside(view.cluster.now, due.at);
            let volume = view.volume_name(due.volume);
            let _ = writeln!(answer, "{volume} {}   {at}   {}", due.lane, due.label);
        }
        let again = humantime::format_duration(decided.ask_again);
        let _ = writeln!(answer, "asks to be asked again after {again}");
        Ok((compared, answer.into()))
    }
}

impl Schedule {
    fn compare(
        &self,
        view: &View,
        decided: &backups::ScheduleDecision,
        compared: &mut Compared,
    ) -> Result<(), String> {
        if let Some(again) = &self.expect.ask_again_ms {
            let span = |span: Duration| humantime::format_duration(span).to_string();
            compared.same("ask again after", span(again.0), span(decided.ask_again));
        }
        let Some(expected) = &self.expect.due else { return Ok(()) };
        let now = view.cluster.now;
        let mut keys = Vec::new();
        for due in expected {
            keys.push((view.volume(&due.volume)?, due.lane.as_str()));
        }
        keys.sort_unstable();
        let shown = |(volume, lane): (u32, &str)| format!("{} {lane}", view.volume_name(volume));
        let got = decided.due.iter().map(|d| shown((d.volume, &d.lane)));
        compared.same("due", listed(keys.into_iter().map(shown)), listed(got));
        for due in expected {
            let same =
                |d: &&backups::Due| view.volume_name(d.volume) == due.volume && d.lane == due.lane;
            // That it is missing was said above.
            let Some(found) = decided.due.iter().find(same) else { continue };
            let what = format!("{} {}", due.volume, due.lane);
            if let Some(at) = due.at_ms {
                let at = at.seen_from(now);
                compared.same(&format!("{what}, when"), beside(now, at), beside(now, found.at));
            }
            if let Some(label) = &due.label {
                compared.same(&format!("{what}, label"), label.clone(), found.label.clone());
            }
        }
        Ok(())
    }
}

/// A moment beside another, as scenarios write it.
fn beside(now: Timestamp, at: Timestamp) -> String {
    let span = humantime::format_duration;
    match at.0.cmp(&now.0) {
        std::cmp::Ordering::Less => format!("{} ago", span(now.since(at))),
        std::cmp::Ordering::Equal => "now".to_owned(),
        std::cmp::Ordering::Greater => format!("in {}", span(at.since(now))),
    }
}

impl Ask for Prune {
    fn title(&self) -> String {
        format!("prune of `{}` in lane `{}`", self.volume, self.lane)
    }

    fn hook(&self) -> Hook {
        Hook::BackupSchedule
    }

    fn put(&self, view: &View, policies: &dyn Policies) -> Result<(Compared, Said), String> {
        let mut copies: Vec<_> = self
            .copies
            .iter()
            .map(|c| Copied {
                tag: c.tag.clone(),
                taken: c.taken_ms.seen_from(view.cluster.now),
                label: c.label.clone(),
                bytes: bytes(c.bytes).0,
            })
            .collect();
        copies.sort_by_key(|c| c.taken);
        let question = PruneQuestion {
            decision: decision()?,
            seed: self.seed,
            volume: view.volume(&self.volume)?,
            lane: self.lane.clone(),
            copies,
        };
        let answers = policies.prune(&view.cluster, &question);
        let decided = backups::decide_prune(&question, answers);
        let tags = |dropped: bool| {
            let goes = |c: &u32| decided.droppable.contains_key(c);
            let of = (0..).zip(&question.copies).filter(|(c, _)| goes(c) == dropped);
            of.map(|(_, copy)| copy.tag.clone()).collect::<Vec<_>>()
        };
        let mut compared = Compared::default();
        let failed = decided.consultation.failures.first().map(|f| &f.failure);
        if compared.failure(self.expect.failure.as_ref(), failed) {
            for (what, expected, dropped) in
                [("kept", &self.expect.kept, false), ("dropped", &self.expect.dropped, true)]
            {
                let Some(expected) = expected else { continue };
                let known = |tag: &&String| !question.copies.iter().any(|c| c.tag == **tag);
                if let Some(tag) = expected.iter().find(known) {
                    return Err(format!("there is no copy `{tag}`"));
                }
                // In whatever order they are written.
                let all = question.copies.iter().map(|c| &c.tag);
                let expected = all.filter(|tag| expected.contains(tag)).cloned();
                compared.same(what, listed(expected), listed(tags(dropped)));
            }
        }
        let answer = format!("kept: {}\ndropped: {}\n", listed(tags(false)), listed(tags(true)));
        Ok((compared, answer.into()))
    }
}

/// The rows for which something holds.
fn rows<R>(table: &[R], holds: impl Fn(&R) -> bool) -> Vec<u32> {
    (0..).zip(table).filter(|(_, row)| holds(row)).map(|(row, _)| row).collect()
}

/// The rows of names, in ascending order.
fn sorted_rows(
    names: &[String],
    row: impl Fn(&str) -> Result<u32, String>,
) -> Result<Vec<u32>, String> {
    let mut rows = names.iter().map(|name| row(name)).collect::<Result<Vec<_>, _>>()?;
    rows.sort_unstable();
    rows.dedup();
    Ok(rows)
}
