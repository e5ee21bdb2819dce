//! What is to be snapshotted or backed up when, and which copies may go. Policies may only add: everything that one of
//! them finds due is done, and a copy goes only if all of them agree.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use flocker_model::{OperationId, Timestamp};

use crate::{ClusterView, Consultation, PolicyAnswer, PolicyFailure, policies::sift};

/// The lane of snapshots on the owner's node.
pub const SNAPSHOT: &str = "snapshot";

/// How old a volume's newest snapshot becomes while the policy for it fails.
const BUILT_IN_EVERY: Duration = Duration::from_hours(1);

/// Policies are asked this often at the most, whatever they wish.
const ASK_AGAIN_MIN: Duration = Duration::from_secs(1);

/// A volume's snapshot follows the one before after this time at the earliest, whatever policies find due. Each makes the
/// storage write out what it holds back, and whoever writes waits for that; most of the time must stay the app's.
pub const SNAPSHOT_INTERVAL_MIN: Duration = Duration::from_secs(5);

/// "What is due?"
#[derive(Debug, Clone, PartialEq)]
pub struct ScheduleQuestion {
    /// Names the decision.
    pub decision: OperationId,
    /// All randomness that a policy has.
    pub seed: u64,
    /// Rows of the volumes it is about, in ascending order.
    pub volumes: Vec<u32>,
    /// How far ahead is asked.
    pub horizon: Duration,
}

/// What is due, and when to ask again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Schedule {
    /// What is due.
    pub due: Vec<Due>,
    /// When to ask again.
    pub ask_again: Duration,
}

/// Something to be done about a volume.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Due {
    /// Row of the volume.
    pub volume: u32,
    /// When; now, if that has passed.
    pub at: Timestamp,
    /// What: [`SNAPSHOT`], "replicate", or the name of a repository.
    pub lane: String,
    /// For people, and for the policy itself when it prunes.
    pub label: String,
}

/// "Which of these may go?"
#[derive(Debug, Clone, PartialEq)]
pub struct PruneQuestion {
    /// Names the decision.
    pub decision: OperationId,
    /// All randomness that a policy has.
    pub seed: u64,
    /// Row of the volume.
    pub volume: u32,
    /// Which lane.
    pub lane: String,
    /// What there is, oldest first.
    pub copies: Vec<Copied>,
}

/// A snapshot or a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// Its name.
    pub tag: String,
    /// When it was taken.
    pub taken: Timestamp,
    /// The label of what was due; of a snapshot's, its letters and digits in lower case.
    pub label: String,
    /// What it refers to.
    pub bytes: u64,
}

/// A copy that may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Droppable {
    /// Position in the question's copies.
    pub copy: u32,
    /// For people.
    pub reason: String,
}

/// What is due, by everybody's advice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScheduleDecision {
    /// Per volume and lane at most once, the earliest.
    pub due: Vec<Due>,
    /// When to ask again.
    pub ask_again: Duration,
    /// Who was asked.
    pub consultation: Consultation,
}

/// What may go, by everybody's advice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PruneDecision {
    /// Positions in the question's copies, in ascending order, with the reasons.
    pub droppable: BTreeMap<u32, Vec<String>>,
    /// Who was asked.
    pub consultation: Consultation,
}

/// Checks a schedule before anybody acts on it.
///
/// # Errors
/// A [`PolicyFailure`] of class "invalid-answer": a volume that was not asked about, or no lane.
pub fn check_schedule(
    question: &ScheduleQuestion,
    schedule: &Schedule,
) -> Result<(), PolicyFailure> {
    let refuse = |message| Err(PolicyFailure::invalid(message));
    for due in &schedule.due {
        if question.volumes.binary_search(&due.volume).is_err() {
            return refuse(format!("nobody asked about volume row {}", due.volume));
        }
        if due.lane.is_empty() {
            return refuse(format!("something is due for volume row {}, but not what", due.volume));
        }
    }
    Ok(())
}

/// Checks what may go before anybody acts on it.
///
/// # Errors
/// A [`PolicyFailure`] of class "invalid-answer": a copy that does not exist or is named twice.
pub fn check_prune(question: &PruneQuestion, droppable: &[Droppable]) -> Result<(), PolicyFailure> {
    let mut seen = BTreeSet::new();
    for Droppable { copy, .. } in droppable {
        if *copy as usize >= question.copies.len() {
            let message = format!("copy {copy} of {}", question.copies.len());
            return Err(PolicyFailure::invalid(message));
        }
        if !seen.insert(*copy) {
            return Err(PolicyFailure::invalid(format!("copy {copy} twice")));
        }
    }
    Ok(())
}

/// Everything that any policy finds due, but no snapshot within [`SNAPSHOT_INTERVAL_MIN`] of the one before. A policy
/// that fails is stood in for by the built-in one.
#[must_use]
pub fn decide_schedule(
    view: &ClusterView,
    question: &ScheduleQuestion,
    answers: Vec<PolicyAnswer<Schedule>>,
) -> ScheduleDecision {
    let checked = |schedule: &Schedule| check_schedule(question, schedule);
    let (mut usable, mut consultation) = sift(answers, checked);
    if !consultation.failures.is_empty() {
        let (built_in, asked) = sift(vec![built_in(view, question)], checked);
        consultation.consulted.extend(asked.consulted);
        usable.extend(built_in);
    }
    let mut due: BTreeMap<(u32, String), Due> = BTreeMap::new();
    let mut ask_again = question.horizon;
    for (_, _, schedule) in usable {
        ask_again = ask_again.min(schedule.ask_again);
        let paced = schedule.due.into_iter().map(|due| paced(view, due));
        for next in paced.filter(|d| d.at.since(view.now) <= question.horizon) {
            let first = due.entry((next.volume, next.lane.clone())).or_insert_with(|| next.clone());
            if next.at < first.at {
                *first = next;
            }
        }
    }
    let due = due.into_values().collect();
    ScheduleDecision { due, ask_again: ask_again.max(ASK_AGAIN_MIN), consultation }
}

/// Not before its time. When something was done last is known of snapshots alone; nothing else is done yet.
fn paced(view: &ClusterView, due: Due) -> Due {
    let row = usize::try_from(due.volume).ok().and_then(|row| view.volumes.get(row));
    let last = row.and_then(|row| row.snapshot).filter(|_| due.lane == SNAPSHOT);
    let earliest = last.map_or(due.at, |last| last + SNAPSHOT_INTERVAL_MIN);
    Due { at: due.at.max(earliest), ..due }
}

/// What stands in for a policy that fails: a snapshot an hour after the one before.
fn built_in(view: &ClusterView, question: &ScheduleQuestion) -> PolicyAnswer<Schedule> {
    let due = |row: &u32| {
        let last = view.volumes.get(usize::try_from(*row).ok()?)?.snapshot;
        let at = last.map_or(view.now, |last| last + BUILT_IN_EVERY);
        let (lane, label) = (SNAPSHOT.to_owned(), "hourly".to_owned());
        Some(Due { volume: *row, at, lane, label })
    };
    let due = question.volumes.iter().filter_map(due).collect();
    PolicyAnswer::built_in(Schedule { due, ask_again: question.horizon })
}

/// What all policies would let go. One that fails keeps everything: it might have been the one that wanted to.
#[must_use]
pub fn decide_prune(
    question: &PruneQuestion,
    answers: Vec<PolicyAnswer<Vec<Droppable>>>,
) -> PruneDecision {
    let (usable, consultation) = sift(answers, |droppable| check_prune(question, droppable));
    let mut droppable: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    if consultation.failures.is_empty() {
        for (policy, _, copies) in &usable {
            for Droppable { copy, reason } in copies {
                droppable.entry(*copy).or_default().push(format!("{policy}: {reason}"));
            }
        }
        droppable.retain(|_, reasons| reasons.len() == usable.len());
    }
    PruneDecision { droppable, consultation }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::policies::samples;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn question() -> ScheduleQuestion {
        let decision = OperationId::new("op-1").unwrap();
        ScheduleQuestion { decision, seed: 1, volumes: vec![0, 2], horizon: Duration::from_mins(1) }
    }

    fn view() -> Arc<ClusterView> {
        let view = samples::view(&["a"], &[("pg", 0), ("other", 0), ("redis", 0)]);
        Arc::new(ClusterView { now: NOW, ..view })
    }

    fn due(volume: u32, in_ms: u64, label: &str) -> Due {
        let at = Timestamp(NOW.0 + in_ms);
        Due { volume, at, lane: SNAPSHOT.into(), label: label.into() }
    }

    fn says(policy: &str, due: Vec<Due>, again_s: u64) -> PolicyAnswer<Schedule> {
        let ask_again = Duration::from_secs(again_s);
        samples::answer(policy, Ok(Schedule { due, ask_again }))
    }

    fn labels(decision: &ScheduleDecision) -> Vec<(u32, &str)> {
        decision.due.iter().map(|d| (d.volume, d.label.as_str())).collect()
    }

    #[test]
    fn everything_that_anybody_finds_due_is_due_once() {
        let answers = vec![
            says("hourly", vec![due(0, 500, "hourly"), due(2, 0, "hourly")], 50),
            says("quiet", vec![due(0, 100, "quiet")], 3),
        ];

        let decision = decide_schedule(&view(), &question(), answers);

        assert_eq!(labels(&decision), [(0, "quiet"), (2, "hourly")]);
        assert_eq!(decision.ask_again, Duration::from_secs(3));
    }

    #[test]
    fn what_is_due_later_is_left_for_later() {
        let answers = vec![says("hourly", vec![due(0, 60_001, "hourly")], 0)];
        let decision = decide_schedule(&view(), &question(), answers);
        assert_eq!((labels(&decision).len(), decision.ask_again), (0, ASK_AGAIN_MIN));
    }

    /// Volume 0 was snapshotted two seconds ago, volume 2 never.
    #[test]
    fn what_is_always_due_waits_for_its_time() {
        let mut view = ClusterView::clone(&view());
        view.volumes[0].snapshot = Some(Timestamp(NOW.0 - 2000));
        let replicate = Due { lane: "replicate".into(), ..due(0, 0, "copy") };
        let answers = vec![
            says("always", vec![due(0, 0, "always"), due(2, 0, "always"), replicate], 1),
            says("later", vec![due(0, 2999, "later")], 1),
        ];

        let decision = decide_schedule(&view, &question(), answers);

        let at: Vec<_> =
            decision.due.iter().map(|d| (d.volume, d.lane.as_str(), d.at.0 - NOW.0)).collect();
        assert_eq!(at, [(0, "replicate", 0), (0, "snapshot", 3000), (2, "snapshot", 0)]);
    }

    #[test]
    fn a_policy_that_fails_is_stood_in_for() {
        let answers = vec![says("stray", vec![due(1, 0, "stray")], 5)];

        let decision = decide_schedule(&view(), &question(), answers);

        // Neither has a snapshot yet, so the built-in policy wants one of each.
        assert_eq!(labels(&decision), [(0, "hourly"), (2, "hourly")]);
        assert!(decision.consultation.failures[0].failure.message.contains("volume row 1"));
    }

    fn may_go(policy: &str, copies: &[u32]) -> PolicyAnswer<Vec<Droppable>> {
        let go = |copy: &u32| Droppable { copy: *copy, reason: "old".into() };
        samples::answer(policy, Ok(copies.iter().map(go).collect()))
    }

    fn gone(answers: Vec<PolicyAnswer<Vec<Droppable>>>) -> Vec<u32> {
        let copy = |n: u64| Copied {
            tag: format!("s{n}"),
            taken: Timestamp(n),
            label: String::new(),
            bytes: 0,
        };
        let question = PruneQuestion {
            decision: OperationId::new("op-1").unwrap(),
            seed: 1,
            volume: 0,
            lane: SNAPSHOT.into(),
            copies: (0..4).map(copy).collect(),
        };
        decide_prune(&question, answers).droppable.into_keys().collect()
    }

    #[test]
    fn a_copy_goes_only_if_everybody_lets_it_go() {
        assert_eq!(gone(vec![may_go("one", &[0, 1, 2]), may_go("two", &[1, 2, 3])]), [1, 2]);
        assert_eq!(gone(vec![]), [] as [u32; 0]);
    }

    #[test]
    fn a_policy_that_fails_keeps_everything() {
        for wrong in [may_go("stray", &[4]), may_go("twice", &[1, 1])] {
            assert_eq!(gone(vec![may_go("one", &[0, 1]), wrong]), [] as [u32; 0]);
        }
    }
}
