//! What comes after a phase of an operation: on, back, wait, or the end. The state table of every operation.
//!
//! Before its point of no return an operation can go back; going back walks the phases in reverse, and the executor
//! undoes each. After it, an operation only goes forward.

use std::time::Duration;

use flocker_model::{Operation, OperationKind, OperationState, Phase, Timestamp};

/// Connections may be held so long before the commit; then everything goes back to the source. Longer than Compose's
/// default grace of 10 s for an app that does not heed SIGTERM, so that such an app can be moved; shorter than the 30 s
/// for which proxies hold a connection, so that going back still finds the clients waiting.
pub const PARK_BUDGET: Duration = Duration::from_secs(20);

/// A node that is needed may be silent so long before connections are held; then the operation is undone.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Why an operation goes back that an operator asked to abort.
pub const ASKED_TO_ABORT: &str = "an operator asked to abort";

/// Nodes on which a deployment is tried at most.
pub const DEPLOY_NODES_MAX: usize = 3;

/// How running a phase, or undoing it, ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is so now.
    Done,
    /// It was not possible at the moment; `since` is when it was first tried.
    Retry { reason: String, since: Timestamp },
    /// It will not be possible.
    Refused { reason: String },
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Run this phase.
    Run(Phase),
    /// Go on to the following phase, and end as failed.
    RunDespite { trouble: String },
    /// Undo this phase.
    Undo(Phase),
    /// Try the same again after a pause.
    Again { reason: String },
    /// Turn round: undo the present phase first, then the ones before.
    TurnBack { reason: String },
    /// It has ended.
    Finish(OperationState),
}

/// The phases of an operation, in order.
#[must_use]
pub fn phases(kind: &OperationKind) -> &'static [Phase] {
    match kind {
        OperationKind::Deploy { .. } => &[
            Phase::Planned,
            Phase::Seed,
            Phase::Prepare,
            Phase::Commit,
            Phase::Start,
            Phase::Unpark,
        ],
        OperationKind::Update { .. } => &[
            Phase::Planned,
            Phase::Seed,
            Phase::Park,
            Phase::Stop,
            Phase::Commit,
            Phase::Prepare,
            Phase::Start,
            Phase::Unpark,
        ],
        OperationKind::Move { .. } => &Phase::ALL,
        OperationKind::Remove { .. } => {
            &[Phase::Planned, Phase::Commit, Phase::Stop, Phase::Reverse]
        }
    }
}

/// Whether the operation can no longer be undone once it is in `phase`. While the commit itself is not known to have
/// happened it counts as not happened: the executor asks the store before it turns back.
#[must_use]
pub fn past_return(kind: &OperationKind, phase: Phase) -> bool {
    let list = phases(kind);
    let at = |wanted| list.iter().position(|p| *p == wanted);
    match (at(phase), at(Phase::Commit)) {
        (Some(now), Some(commit)) => now > commit,
        (None, _) | (_, None) => false,
    }
}

/// Whether proxies hold connections to the app's services.
#[must_use]
pub fn parks(operation: &Operation) -> bool {
    if operation.state.is_final() {
        return false;
    }
    let list = phases(&operation.kind);
    let at = |wanted| list.iter().position(|p| *p == wanted);
    // An operation without a park phase makes an app that nobody could reach before: early clients wait for it.
    let from = at(Phase::Park).unwrap_or(0);
    let (Some(now), Some(until)) = (at(operation.phase), at(Phase::Unpark)) else { return false };
    match &operation.undoing {
        None => from <= now && now < until,
        Some(_) => from < now && now < until,
    }
}

/// What comes after the present phase ended with `outcome`.
#[must_use]
pub fn after(operation: &Operation, outcome: Outcome, now: Timestamp) -> Next {
    match &operation.undoing {
        None => forward(operation, outcome, now),
        Some(reason) => backward(operation, reason, outcome),
    }
}

/// What a leader does with an operation that it finds unfinished: a phase may be run twice, so it runs it again, unless
/// connections have been held for too long.
#[must_use]
pub fn resume(operation: &Operation, now: Timestamp) -> Next {
    match &operation.undoing {
        Some(_) => Next::Undo(operation.phase),
        None if park_expired(operation, now) => {
            Next::TurnBack { reason: "the leader was restarted meanwhile".into() }
        }
        None => Next::Run(operation.phase),
    }
}

/// Whether an operator may still abort it.
#[must_use]
pub fn can_abort(operation: &Operation) -> bool {
    let list = phases(&operation.kind);
    let at = |wanted| list.iter().position(|p| *p == wanted);
    !operation.state.is_final()
        && operation.undoing.is_none()
        && at(operation.phase) < at(Phase::Commit)
}

fn forward(operation: &Operation, outcome: Outcome, now: Timestamp) -> Next {
    let returnable = !past_return(&operation.kind, operation.phase);
    match outcome {
        Outcome::Done => following(operation),
        Outcome::Refused { reason } if returnable => Next::TurnBack { reason },
        // The data is at its new place and nowhere else as new, so there is no way back; the app is started there and
        // does not become ready. What can be done is finished, clients are let through, and an operator is told.
        Outcome::Refused { reason } if operation.phase == Phase::Start => {
            Next::RunDespite { trouble: reason }
        }
        Outcome::Refused { reason } => Next::Again { reason },
        // The app runs at its new place; what is left to do at the old one is done when that node is back.
        Outcome::Retry { since, .. }
            if operation.phase == Phase::Reverse
                && matches!(operation.kind, OperationKind::Move { .. })
                && now.since(since) >= PATIENCE =>
        {
            following(operation)
        }
        // The records say where it runs and how: it is started there when that node is back.
        Outcome::Retry { reason, since }
            if !returnable && started_later(operation) && now.since(since) >= PATIENCE =>
        {
            Next::RunDespite { trouble: reason }
        }
        Outcome::Retry { reason, since } => {
            let patient = !returnable || operation.parked.is_some() || now.since(since) < PATIENCE;
            if patient && !park_expired(operation, now) {
                Next::Again { reason }
            } else {
                Next::TurnBack { reason }
            }
        }
    }
}

/// Whether the rest of it follows from the records alone, once the node that is waited for is back.
fn started_later(operation: &Operation) -> bool {
    let starts = matches!(operation.phase, Phase::Prepare | Phase::Start);
    match operation.kind {
        OperationKind::Deploy { .. } | OperationKind::Update { .. } => starts,
        // The copy at the target is no owner's yet, or the source's is not put away.
        OperationKind::Move { .. } | OperationKind::Remove { .. } => false,
    }
}

/// The phase after the present one, or the end.
#[must_use]
pub fn following(operation: &Operation) -> Next {
    let list = phases(&operation.kind);
    let next = list.iter().position(|p| *p == operation.phase).and_then(|at| list.get(at + 1));
    match next {
        Some(phase) => Next::Run(*phase),
        None => Next::Finish(match &operation.trouble {
            None => OperationState::Done,
            Some(reason) => OperationState::Failed { reason: reason.clone() },
        }),
    }
}

fn backward(operation: &Operation, reason: &str, outcome: Outcome) -> Next {
    match outcome {
        Outcome::Done => {
            let list = phases(&operation.kind);
            match list.iter().position(|p| *p == operation.phase) {
                Some(at) if at > 0 => Next::Undo(list[at - 1]),
                Some(_) | None => {
                    Next::Finish(OperationState::Aborted { reason: reason.to_owned() })
                }
            }
        }
        Outcome::Retry { reason, .. } | Outcome::Refused { reason } => Next::Again { reason },
    }
}

fn park_expired(operation: &Operation, now: Timestamp) -> bool {
    let returnable = !past_return(&operation.kind, operation.phase);
    returnable && operation.parked.is_some_and(|since| now.since(since) > PARK_BUDGET)
}

#[cfg(test)]
mod tests {
    use flocker_model::{AppName, Epoch, MoveReport, NodeName, OperationId, Purpose};

    use super::*;

    fn moving(phase: Phase) -> Operation {
        let node = |n| NodeName::new(n).unwrap();
        Operation {
            id: OperationId::new("op-1").unwrap(),
            app: AppName::new("shop").unwrap(),
            kind: OperationKind::Move { source: node("n1"), target: node("n2"), epoch: Epoch(4) },
            purpose: Purpose::Operator,
            state: OperationState::Running,
            phase,
            undoing: None,
            trouble: None,
            started: Timestamp(0),
            finished: None,
            parked: (phase >= Phase::Park).then_some(Timestamp(1000)),
            report: MoveReport::default(),
        }
    }

    fn refused() -> Outcome {
        Outcome::Refused { reason: "no".into() }
    }

    #[test]
    fn a_refusal_turns_a_move_back_before_its_commit_and_never_after() {
        for phase in Phase::ALL {
            let next = after(&moving(phase), refused(), Timestamp(1001));
            let turned = matches!(next, Next::TurnBack { .. });
            assert_eq!(turned, phase <= Phase::Commit, "{phase}: {next:?}");
        }
    }

    #[test]
    fn a_silent_node_ends_the_park_in_time_but_never_a_committed_move() {
        let silent = || Outcome::Retry { reason: "silent".into(), since: Timestamp(2000) };
        for phase in Phase::ALL {
            let just_in_time = after(&moving(phase), silent(), Timestamp(21_000));
            let too_late = after(&moving(phase), silent(), Timestamp(21_001));
            assert!(matches!(just_in_time, Next::Again { .. }), "{phase}");
            let turned = matches!(too_late, Next::TurnBack { .. });
            assert_eq!(turned, (Phase::Park..=Phase::Commit).contains(&phase), "{phase}");
        }
    }

    #[test]
    fn a_source_that_stays_away_does_not_hold_its_app_for_ever() {
        let silent = || Outcome::Retry { reason: "silent".into(), since: Timestamp(0) };
        let at = |ms| after(&moving(Phase::Reverse), silent(), Timestamp(ms));

        assert!(matches!(at(59_999), Next::Again { .. }));
        assert_eq!(at(60_000), Next::Finish(OperationState::Done));
    }

    #[test]
    fn a_removal_is_never_called_done_because_a_node_did_not_answer() {
        let mut removal = moving(Phase::Reverse);
        removal.kind = OperationKind::Remove { node: None, volumes: true };
        let silent = Outcome::Retry { reason: "silent".into(), since: Timestamp(0) };

        let next = after(&removal, silent, Timestamp(10_000_000));

        assert!(matches!(next, Next::Again { .. }), "{next:?}");
    }

    #[test]
    fn a_new_app_whose_node_died_is_left_to_be_started_later_and_a_moved_one_is_not() {
        let target = NodeName::new("n1").unwrap();
        let mut deploy = moving(Phase::Start);
        deploy.parked = None;
        deploy.kind = OperationKind::Deploy { target, tried: vec![] };
        let silent = || Outcome::Retry { reason: "silent".into(), since: Timestamp(0) };

        assert!(matches!(after(&deploy, silent(), Timestamp(59_999)), Next::Again { .. }));
        let next = after(&deploy, silent(), Timestamp(60_000));
        assert_eq!(next, Next::RunDespite { trouble: "silent".into() });
        let moved = after(&moving(Phase::Start), silent(), Timestamp(60_000));
        assert!(matches!(moved, Next::Again { .. }), "{moved:?}");
    }

    #[test]
    fn going_back_undoes_every_phase_in_reverse_and_ends_as_aborted() {
        let mut operation = moving(Phase::Delta);
        operation.undoing = Some("asked to".into());
        let mut undone = vec![];
        loop {
            undone.push(operation.phase.as_str());
            match after(&operation, Outcome::Done, Timestamp(0)) {
                Next::Undo(phase) => operation.phase = phase,
                Next::Finish(state) => {
                    assert_eq!(state, OperationState::Aborted { reason: "asked to".into() });
                    break;
                }
                other @ (Next::Run(_)
                | Next::RunDespite { .. }
                | Next::Again { .. }
                | Next::TurnBack { .. }) => panic!("{other:?}"),
            }
        }
        assert_eq!(
            undone,
            ["delta", "seal", "stop", "park", "prepare", "converge", "seed", "planned"]
        );
    }

    #[test]
    fn connections_are_held_from_the_park_to_the_unpark_and_released_first_when_going_back() {
        let held = |undoing: bool| {
            let parked = |phase: &Phase| {
                let mut operation = moving(*phase);
                operation.undoing = undoing.then(|| "x".into());
                parks(&operation)
            };
            Phase::ALL.into_iter().filter(parked).map(Phase::as_str).collect::<Vec<_>>()
        };
        assert_eq!(held(false), ["park", "stop", "seal", "delta", "commit", "promote", "start"]);
        assert_eq!(held(true), ["stop", "seal", "delta", "commit", "promote", "start"]);
    }

    #[test]
    fn an_app_that_is_not_ready_after_its_move_is_reachable_and_the_move_says_so() {
        let next = after(&moving(Phase::Start), refused(), Timestamp(0));

        assert_eq!(next, Next::RunDespite { trouble: "no".into() });
        let mut last = moving(Phase::Reverse);
        last.trouble = Some("no".into());
        let end = after(&last, Outcome::Done, Timestamp(0));
        assert_eq!(end, Next::Finish(OperationState::Failed { reason: "no".into() }));
    }

    #[test]
    fn every_kind_commits_exactly_once() {
        let node = NodeName::new("n1").unwrap();
        for kind in [
            OperationKind::Deploy { target: node.clone(), tried: vec![] },
            OperationKind::Update { node: node.clone(), manifest: String::new() },
            OperationKind::Move { source: node.clone(), target: node.clone(), epoch: Epoch(1) },
            OperationKind::Remove { node: Some(node.clone()), volumes: true },
        ] {
            let commits = phases(&kind).iter().filter(|p| **p == Phase::Commit).count();
            assert_eq!(commits, 1, "{kind:?}");
            assert_eq!(phases(&kind)[0], Phase::Planned);
        }
    }
}
