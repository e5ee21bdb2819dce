//! Where an app goes: hard rules first, then everybody's advice, checked and weighed. Never asks anybody by itself
//! except through [`Policies`], and never picks a node that a rule or a policy refused.

mod builtin;
mod decision;
mod rules;
#[cfg(test)]
mod tests;

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc, time::Duration};

use flocker_model::{NodeName, PlacementRules};

pub use self::{
    builtin::BuiltIn,
    decision::{DecidedBy, Decision, Settled, Shadow, Tie},
    rules::{Allowed, Excluded, candidates},
};
use crate::{
    Answer, Candidate, ClusterView, Opinion, PlacementQuestion, Policies, PolicyAnswer,
    PolicyFailure, policies::sift,
};

/// The best score there is. The scale is absolute, so 5000 of one policy means what 5000 of another does, and scores of
/// different moments can be compared; stretching each answer to the whole range would make every small difference look
/// worth a move.
pub const SCORE_MAX: u32 = 10_000;

/// Applies the hard rules, asks the policies about what is left, and weighs their answers.
/// `question.candidates` is filled in here, whatever it held.
#[must_use]
pub fn place(
    view: &Arc<ClusterView>,
    rules: &PlacementRules,
    mut question: PlacementQuestion,
    policies: &dyn Policies,
    fallback: &BuiltIn,
) -> Decision {
    let allowed = candidates(view, rules, &question);
    question.candidates = allowed.rows;
    // Nobody is asked about nothing: the rules have decided.
    let answers =
        if question.candidates.is_empty() { Vec::new() } else { policies.place(view, &question) };
    let mut decision = decide(view, &question, answers, fallback);
    decision.excluded = allowed.excluded;
    decision
}

/// Checks an answer before anybody acts on it: one score per candidate, each in range, and reasons only for candidates.
///
/// # Errors
/// A [`PolicyFailure`] of class "invalid-answer" that says what is wrong.
pub fn check(question: &PlacementQuestion, answer: &Answer) -> Result<(), PolicyFailure> {
    let refuse = |message| Err(PolicyFailure::invalid(message));
    if answer.scores.len() != question.candidates.len() {
        return refuse(format!(
            "{} scores for {} candidates",
            answer.scores.len(),
            question.candidates.len()
        ));
    }
    let is_allowed = |score: i32| (-1..=SCORE_MAX.cast_signed()).contains(&score);
    // Without a way out in the middle, several scores are looked at in one step.
    if !answer.scores.iter().fold(true, |all, score| all & is_allowed(*score)) {
        let mut scores = question.candidates.iter().zip(&answer.scores);
        if let Some((row, score)) = scores.find(|(_, score)| !is_allowed(**score)) {
            return refuse(format!(
                "score {score} for node row {row}; allowed are -1 and 0 to {SCORE_MAX}"
            ));
        }
    }
    if answer.reasons.is_empty() {
        return Ok(());
    }
    let mut candidates = question.candidates.clone();
    candidates.sort_unstable();
    match answer.reasons.iter().find(|r| candidates.binary_search(&r.candidate).is_err()) {
        Some(stray) => {
            refuse(format!("a reason for node row {}, which is not a candidate", stray.candidate))
        }
        None => Ok(()),
    }
}

/// Weighs answers: a node that anybody refused is out, of the others the best weighted mean wins, and a tie is settled
/// by the app's present node and then by the question's seed. Answers that cannot be used are listed as failures; when
/// none is left, the built-in policy decides, and the decision says so.
#[must_use]
pub fn decide(
    view: &Arc<ClusterView>,
    question: &PlacementQuestion,
    answers: Vec<PolicyAnswer<Answer>>,
    fallback: &BuiltIn,
) -> Decision {
    let mut decision = Decision::new(question, view.now);
    decision.shadows = shadows(view, question, &answers);
    let mut opinions = valid(question, answers, &mut decision);
    if question.candidates.is_empty() {
        return decision;
    }
    decision.decided_by = if opinions.is_empty() {
        let answers = fallback.place(view, question);
        opinions = valid(question, answers, &mut decision);
        DecidedBy::BuiltIn
    } else {
        DecidedBy::Policies
    };
    decision.candidates = weigh(view, question, &opinions);
    let best = decision.candidates.first().filter(|c| c.score.is_some());
    decision.chosen = best.map(|c| c.node.clone());
    decision.tie = tie(view, question, &decision.candidates);
    decision
}

/// How the best of the candidates came before others of the same score.
fn tie(view: &ClusterView, question: &PlacementQuestion, best: &[Candidate]) -> Option<Tie> {
    let (best, others) = best.split_first()?;
    let equal = |other: &&Candidate| best.score.is_some() && other.score == best.score;
    let with: Vec<_> = others.iter().take_while(equal).map(|c| c.node.clone()).collect();
    let current = question.current.and_then(|row| view.nodes.get(usize::try_from(row).ok()?));
    let stays = current.is_some_and(|current| current.name == best.node);
    let settled = if stays { Settled::Present } else { Settled::Lot };
    (!with.is_empty()).then_some(Tie { with, settled })
}

/// Where each policy in shadow would have put the app, had it been the only one.
fn shadows(
    view: &ClusterView,
    question: &PlacementQuestion,
    answers: &[PolicyAnswer<Answer>],
) -> Vec<Shadow> {
    let would = |asked: &PolicyAnswer<Answer>| {
        let answer = asked.answer.clone()?;
        check(question, &answer)?;
        let weighed = weigh(view, question, &[(asked.policy.clone(), 1, answer)]);
        let best = weighed.into_iter().next().filter(|c| c.score.is_some());
        Ok(best.map(|c| c.node))
    };
    let of =
        |asked: &PolicyAnswer<Answer>| Shadow { policy: asked.policy.clone(), would: would(asked) };
    answers.iter().filter(|a| a.shadow).map(of).collect()
}

/// The answers that may be used; the others become failures of the decision.
fn valid(
    question: &PlacementQuestion,
    answers: Vec<PolicyAnswer<Answer>>,
    decision: &mut Decision,
) -> Vec<(String, u32, Answer)> {
    let (usable, consultation) = sift(answers, |answer| check(question, answer));
    decision.consulted.extend(consultation.consulted);
    decision.failures.extend(consultation.failures);
    for (_, _, answer) in &usable {
        let wait = answer.ask_again_ms.map(|ms| Duration::from_millis(ms.into()));
        decision.ask_again = decision.ask_again.max(wait);
    }
    usable
}

/// Every candidate with what was said about it, the best first.
fn weigh(
    view: &ClusterView,
    question: &PlacementQuestion,
    opinions: &[(String, u32, Answer)],
) -> Vec<Candidate> {
    // If no weight counts, all opinions count alike: a policy whose weight is 0 can still be the only one.
    let total: u64 = opinions.iter().map(|(_, weight, _)| u64::from(*weight)).sum();
    let weight_of = |weight: u32| if total == 0 { 1 } else { weight };
    let weights = opinions.iter().map(|(_, weight, _)| u64::from(weight_of(*weight)));
    let divisor = weights.sum::<u64>().max(1);
    let mut weighed: Vec<_> = question
        .candidates
        .iter()
        .enumerate()
        .filter_map(|(position, row)| {
            let node = &view.nodes.get(usize::try_from(*row).ok()?)?.name;
            let (mut reasons, mut said_so) = (Vec::new(), Vec::new());
            let mut sum = Some(0);
            for (policy, weight, answer) in opinions {
                let score = u64::try_from(answer.scores.get(position).copied().unwrap_or(-1)).ok();
                let weight = weight_of(*weight);
                reasons.push(said(policy, *row, score, answer));
                said_so.push(Opinion {
                    policy: policy.clone(),
                    weight,
                    score: score.and_then(|score| u32::try_from(score).ok()),
                });
                // One refusal is enough.
                sum = sum.zip(score).map(|(sum, score)| sum + score * u64::from(weight));
            }
            let score = sum.and_then(|sum| u32::try_from(sum / divisor).ok());
            let stays = question.current == Some(*row);
            Some((stays, Candidate { node: node.clone(), score, reasons, opinions: said_so }))
        })
        .collect();
    weighed.sort_by_key(|(stays, c)| {
        (Reverse(c.score), !stays, lot(question.seed, &c.node), c.node.clone())
    });
    weighed.into_iter().map(|(_, candidate)| candidate).collect()
}

/// What one policy said about one node, for people.
fn said(policy: &str, row: u32, score: Option<u64>, answer: &Answer) -> String {
    let verdict = score.map_or_else(|| "refused".to_owned(), |score| score.to_string());
    let texts: Vec<_> = answer
        .reasons
        .iter()
        .filter(|r| r.candidate == row && !r.text.is_empty())
        .map(|r| r.text.as_str())
        .collect();
    if texts.is_empty() {
        format!("{policy}: {verdict}")
    } else {
        format!("{policy}: {verdict} ({})", texts.join("; "))
    }
}

/// A number drawn for a node. It depends on the node's name and not on its row, so the order of rows does not matter;
/// written out here (FNV-1a, then a finaliser), because std's hashers may change and a replay may not.
fn lot(seed: u64, node: &NodeName) -> u64 {
    let mut hash = node.as_str().bytes().fold(0xcbf2_9ce4_8422_2325 ^ seed, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash ^ (hash >> 31)
}

/// The node that an app should leave `current` for: one that beats it by `threshold` points or more, or any if
/// `current` was refused. `None` when it had better stay; a plugin's failure or its wish to be asked later moves nothing.
#[must_use]
pub fn worth_moving<'a>(
    decision: &'a Decision,
    current: &NodeName,
    threshold: u32,
) -> Option<&'a NodeName> {
    let fell_back = decision.decided_by == DecidedBy::BuiltIn && !decision.failures.is_empty();
    if fell_back || decision.ask_again.is_some() {
        return None;
    }
    let chosen = decision.chosen.as_ref().filter(|chosen| *chosen != current)?;
    let scores: BTreeMap<_, _> = decision.candidates.iter().map(|c| (&c.node, c.score)).collect();
    let best = scores.get(chosen).copied().flatten()?;
    match scores.get(current).copied().flatten() {
        Some(present) if best < present.saturating_add(threshold) => None,
        Some(_) | None => Some(chosen),
    }
}
