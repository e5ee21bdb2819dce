//! Which apps had better be elsewhere, for the cluster's sake rather than their own. A proposal is advice: the hard
//! rules and the placement policies still have to agree with the target.

use std::collections::BTreeSet;

use flocker_model::{NodeName, OperationId};

use crate::{ClusterView, Consultation, Decision, PolicyAnswer, PolicyFailure, policies::sift};

/// "Which of these apps should move, and where to?"
#[derive(Debug, Clone, PartialEq)]
pub struct RebalanceQuestion {
    /// Names the decision.
    pub decision: OperationId,
    /// All randomness that a policy has.
    pub seed: u64,
    /// Rows of the apps that may be moved now: they run, rested long enough, are not pinned, and nothing else is done
    /// with them. In ascending order.
    pub movable: Vec<u32>,
    /// Moves that are wanted at most.
    pub moves_max: u32,
}

/// A move that a policy proposes.
#[derive(Debug, Clone, PartialEq)]
pub struct ProposedMove {
    /// Row of the app.
    pub app: u32,
    /// Row of the node that it should go to.
    pub target: u32,
    /// How much better the cluster is for it; only compared with other gains of the same policy.
    pub gain: f64,
    /// For people.
    pub reason: String,
}

/// What becomes of proposals.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rebalancing {
    /// The moves to be tried, in this order, with who proposed them.
    pub moves: Vec<(String, ProposedMove)>,
    /// Whether anybody had an answer that counts; without one, every app is asked about by itself.
    pub answered: bool,
    /// Who was asked.
    pub consultation: Consultation,
}

/// Checks proposals before anybody acts on them.
///
/// # Errors
/// A [`PolicyFailure`] of class "invalid-answer": an app or a node that does not exist or may not be moved, one that is
/// named twice, more than were wanted, or a gain that is no number.
pub fn check(
    view: &ClusterView,
    question: &RebalanceQuestion,
    moves: &[ProposedMove],
) -> Result<(), PolicyFailure> {
    let refuse = |message| Err(PolicyFailure::invalid(message));
    if moves.len() > question.moves_max as usize {
        return refuse(format!("{} moves, at most {} are wanted", moves.len(), question.moves_max));
    }
    let mut seen = BTreeSet::new();
    for proposed in moves {
        let ProposedMove { app, target, gain, .. } = proposed;
        if !question.movable.contains(app) {
            return refuse(format!("app row {app} may not be moved now"));
        }
        if *target as usize >= view.nodes.len() {
            return refuse(format!("there is no node row {target}"));
        }
        if !gain.is_finite() {
            return refuse(format!("the gain of moving app row {app} is no number"));
        }
        if !seen.insert(*app) {
            return refuse(format!("app row {app} is moved twice"));
        }
    }
    Ok(())
}

/// Takes the policies' proposals in turn: the best of each, those of the weightiest policy first, an app once.
#[must_use]
pub fn decide(
    view: &ClusterView,
    question: &RebalanceQuestion,
    answers: Vec<PolicyAnswer<Vec<ProposedMove>>>,
) -> Rebalancing {
    let (mut usable, consultation) = sift(answers, |moves| check(view, question, moves));
    let answered = !usable.is_empty();
    usable.sort_by_key(|(_, weight, _)| std::cmp::Reverse(*weight));
    let mut queues: Vec<_> = usable
        .into_iter()
        .map(|(policy, _, mut moves)| {
            moves.sort_by(|a, b| b.gain.total_cmp(&a.gain).then(a.app.cmp(&b.app)));
            (policy, moves.into_iter())
        })
        .collect();
    let (mut moves, mut taken) = (Vec::new(), BTreeSet::new());
    loop {
        let before = moves.len();
        for (policy, queue) in &mut queues {
            if moves.len() < question.moves_max as usize
                && let Some(proposed) = queue.find(|m| !taken.contains(&m.app))
            {
                taken.insert(proposed.app);
                moves.push((policy.clone(), proposed));
            }
        }
        if moves.len() == before {
            return Rebalancing { moves, answered, consultation };
        }
    }
}

/// Why a proposed move is not made, if it is not: the app is there already, a hard rule speaks against the target, or a
/// placement policy refuses it. `decision` is about this app, by the purpose of a rebalance.
#[must_use]
pub fn objection(source: &NodeName, target: &NodeName, decision: &Decision) -> Option<String> {
    if source == target {
        return Some(format!("it is on `{target}` already"));
    }
    let excluded = decision.excluded.iter().find(|e| e.node == *target);
    let refused = || decision.candidates.iter().find(|c| c.node == *target && c.score.is_none());
    excluded
        .map(|e| format!("`{target}` {}", e.reason))
        .or_else(|| refused().map(|c| format!("`{target}` is refused: {}", c.reasons.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policies::samples;

    fn question(movable: Vec<u32>, moves_max: u32) -> RebalanceQuestion {
        let decision = OperationId::new("op-1").unwrap();
        RebalanceQuestion { decision, seed: 1, movable, moves_max }
    }

    fn proposes(policy: &str, moves: &[(u32, u32, f64)]) -> PolicyAnswer<Vec<ProposedMove>> {
        let proposed = |(app, target, gain): &(u32, u32, f64)| ProposedMove {
            app: *app,
            target: *target,
            gain: *gain,
            reason: "because".into(),
        };
        samples::answer(policy, Ok(moves.iter().map(proposed).collect()))
    }

    fn decided(
        question: &RebalanceQuestion,
        answers: Vec<PolicyAnswer<Vec<ProposedMove>>>,
    ) -> Vec<(u32, u32)> {
        let view = samples::view(&["a", "b", "c"], &[]);
        decide(&view, question, answers).moves.into_iter().map(|(_, m)| (m.app, m.target)).collect()
    }

    #[test]
    fn the_largest_gains_come_first_and_policies_take_turns() {
        let one = proposes("one", &[(0, 1, 1.0), (1, 2, 9.0)]);
        let two = proposes("two", &[(1, 0, 0.1), (2, 0, 0.2)]);

        let all = decided(&question(vec![0, 1, 2], 3), vec![one, two]);

        assert_eq!(all, [(1, 2), (2, 0), (0, 1)]);
    }

    #[test]
    fn no_more_moves_than_are_wanted() {
        let (one, two) = (proposes("one", &[(0, 1, 1.0)]), proposes("two", &[(1, 2, 1.0)]));
        assert_eq!(decided(&question(vec![0, 1], 1), vec![one, two]), [(0, 1)]);
    }

    #[test]
    fn what_makes_no_sense_is_left_out_as_a_whole() {
        for moves in [
            vec![(0, 1, 1.0), (5, 1, 1.0)],
            vec![(0, 3, 1.0)],
            vec![(0, 1, f64::NAN)],
            vec![(0, 1, 1.0), (0, 2, 1.0)],
            vec![(0, 1, 1.0), (1, 1, 1.0), (2, 1, 1.0)],
        ] {
            let wrong = proposes("wrong", &moves);
            assert_eq!(decided(&question(vec![0, 1, 2], 2), vec![wrong]), [], "{moves:?}");
        }
    }
}
