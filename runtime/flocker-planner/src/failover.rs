//! What becomes of the volumes of a node that stays silent. Policies may only make this more careful: of several
//! answers the most careful wins, and nothing is promoted that the guard does not allow.

use std::{cmp::Reverse, time::Duration};

use flocker_model::OperationId;

use crate::{ClusterView, Consultation, PolicyAnswer, PolicyFailure, policies::sift};

/// "This node is silent. What is to be done about its volumes?"
#[derive(Debug, Clone, PartialEq)]
pub struct Incident {
    /// Names the decision.
    pub decision: OperationId,
    /// All randomness that a policy has.
    pub seed: u64,
    /// Row of the silent node.
    pub node: u32,
    /// For how long it has been silent.
    pub silent: Duration,
    /// Whether it is certain that it cannot write any more.
    pub fenced: bool,
    /// How many nodes agree that it is silent.
    pub votes: u32,
    /// How many must.
    pub quorum: u32,
    /// Rows of the volumes that it owns.
    pub volumes: Vec<u32>,
}

/// What a policy would do with one volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What to do.
    pub course: Course,
    /// For people.
    pub reason: String,
}

/// What to do with a volume of a silent node, from the boldest to the most careful. A replica is a row in decisions, and
/// the name of its node for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Course<R = u32> {
    /// Make this replica the owner's copy. What was written after its snapshot is lost.
    Promote { replica: R },
    /// Ask again after this time.
    Wait { again: Duration },
    /// Leave it to an operator.
    Freeze,
}

impl Course {
    /// The larger, the more careful.
    fn care(self) -> (u8, Duration) {
        match self {
            Self::Promote { .. } => (0, Duration::ZERO),
            Self::Wait { again } => (1, again),
            Self::Freeze => (2, Duration::ZERO),
        }
    }
}

/// One volume's fate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruling {
    /// Row of the volume.
    pub volume: u32,
    /// What is done.
    pub course: Course,
    /// Why that is less than the policies want, where it is.
    pub held_back: Option<String>,
    /// Who said what, the most careful first; last those in shadow, to whom nobody listens.
    pub said: Vec<Said>,
}

/// What one policy said about one volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Its name and version.
    pub policy: String,
    /// Nobody acted on it.
    pub shadow: bool,
    /// What it said.
    pub verdict: Verdict,
}

/// What was decided about a silent node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FailoverDecision {
    /// Per volume, in the order of the question.
    pub rulings: Vec<Ruling>,
    /// Who was asked.
    pub consultation: Consultation,
}

/// How long to wait when the guard holds back a promotion.
const GUARD_WAIT: Duration = Duration::from_secs(1);

/// Checks an answer before anybody acts on it.
///
/// # Errors
/// A [`PolicyFailure`] of class "invalid-answer": too few verdicts, or a replica that does not exist, is of another
/// volume, or is on a node that does not answer either.
pub fn check(
    view: &ClusterView,
    incident: &Incident,
    verdicts: &[Verdict],
) -> Result<(), PolicyFailure> {
    let refuse = |message| Err(PolicyFailure::invalid(message));
    if verdicts.len() != incident.volumes.len() {
        let (got, wanted) = (verdicts.len(), incident.volumes.len());
        return refuse(format!("{got} verdicts for {wanted} volumes"));
    }
    for (volume, verdict) in incident.volumes.iter().zip(verdicts) {
        let Course::Promote { replica } = verdict.course else { continue };
        let Some(copy) = view.replicas.get(replica as usize) else {
            return refuse(format!("there is no replica row {replica}"));
        };
        if copy.volume != *volume {
            return refuse(format!("replica row {replica} is of another volume than row {volume}"));
        }
        if copy.node == incident.node
            || !view.nodes.get(copy.node as usize).is_some_and(|n| n.alive)
        {
            return refuse(format!("replica row {replica} is on a node that does not answer"));
        }
    }
    Ok(())
}

/// The most careful of the answers for each volume; the built-in policy's where none can be used. One failure among
/// several policies freezes: it might have been the careful one. A promotion that the guard does not allow becomes a wait.
#[must_use]
pub fn decide(
    view: &ClusterView,
    incident: &Incident,
    answers: Vec<PolicyAnswer<Vec<Verdict>>>,
) -> FailoverDecision {
    let checked = |verdicts: &Vec<Verdict>| check(view, incident, verdicts);
    let built_in = built_in(incident, answers.iter().all(|a| a.shadow));
    let shadows = shadows(&answers, checked);
    let (mut usable, mut consultation) = sift(answers, checked);
    if usable.is_empty() || !consultation.failures.is_empty() {
        let (careful, built_in) = sift(vec![built_in], checked);
        consultation.consulted.extend(built_in.consulted);
        usable.extend(careful);
    }
    usable.sort_by_key(|(_, weight, _)| Reverse(*weight));
    let rulings = incident.volumes.iter().enumerate().map(|(position, volume)| {
        let mut said = said_about(position, &usable, false);
        said.sort_by_key(|said| Reverse(said.verdict.course.care()));
        let wanted = said.first().map_or(Course::Freeze, |said| said.verdict.course);
        let (course, held_back) = match (wanted, guard(incident)) {
            (Course::Promote { .. }, Some(why)) => (Course::Wait { again: GUARD_WAIT }, Some(why)),
            (course, _) => (course, None),
        };
        said.extend(said_about(position, &shadows, true));
        Ruling { volume: *volume, course, held_back, said }
    });
    FailoverDecision { rulings: rulings.collect(), consultation }
}

/// Verdicts about all volumes, with who gave them and how much they count.
type Opinion = (String, u32, Vec<Verdict>);

/// What policies in shadow said, as far as it makes sense.
fn shadows(
    answers: &[PolicyAnswer<Vec<Verdict>>],
    checked: impl Fn(&Vec<Verdict>) -> Result<(), PolicyFailure>,
) -> Vec<Opinion> {
    let usable = |asked: &PolicyAnswer<Vec<Verdict>>| {
        let verdicts = asked.answer.as_ref().ok().filter(|verdicts| checked(verdicts).is_ok())?;
        asked.shadow.then(|| (asked.policy.clone(), asked.weight, verdicts.clone()))
    };
    answers.iter().filter_map(usable).collect()
}

/// What was said about the volume in this position.
fn said_about(position: usize, opinions: &[Opinion], shadow: bool) -> Vec<Said> {
    let said = |(policy, _, verdicts): &Opinion| {
        let verdict = verdicts.get(position)?.clone();
        Some(Said { policy: policy.clone(), shadow, verdict })
    };
    opinions.iter().filter_map(said).collect()
}

/// Where no policy is configured, and where one fails: an operator decides.
fn built_in(incident: &Incident, nobody: bool) -> PolicyAnswer<Vec<Verdict>> {
    let reason = match nobody {
        true => "no policy for failover is loaded",
        false => "a policy for failover gave no answer that could be used",
    };
    let freeze = Verdict { course: Course::Freeze, reason: reason.to_owned() };
    PolicyAnswer::built_in(vec![freeze; incident.volumes.len()])
}

/// Why nothing may be promoted, whatever policies say.
fn guard(incident: &Incident) -> Option<String> {
    if !incident.fenced {
        Some("the node may still be writing".to_owned())
    } else if incident.votes < incident.quorum {
        Some(format!("only {} of {} votes", incident.votes, incident.quorum))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::policies::samples;

    const WAIT: Course = Course::Wait { again: Duration::from_secs(5) };
    const PROMOTE: Course = Course::Promote { replica: 0 };

    /// Node 0 is silent and owns volume 0; its replica 0 is on node 1, replica 1 on the silent node itself.
    fn incident() -> (Arc<ClusterView>, Incident) {
        let mut view = samples::view(&["a", "b", "c"], &[("pg", 0)]);
        view.nodes[0].alive = false;
        view.replicas = vec![samples::replica(0, 1), samples::replica(0, 0)];
        let incident = Incident {
            decision: OperationId::new("op-1").unwrap(),
            seed: 1,
            node: 0,
            silent: Duration::from_secs(10),
            fenced: true,
            votes: 2,
            quorum: 2,
            volumes: vec![0],
        };
        (Arc::new(view), incident)
    }

    fn says(policy: &str, course: Course) -> PolicyAnswer<Vec<Verdict>> {
        samples::answer(policy, Ok(vec![Verdict { course, reason: "because".into() }]))
    }

    #[track_caller]
    fn decided(answers: Vec<PolicyAnswer<Vec<Verdict>>>, want: Course) {
        let (view, incident) = incident();
        assert_eq!(decide(&view, &incident, answers).rulings[0].course, want);
    }

    #[test]
    fn the_most_careful_answer_wins() {
        decided(vec![says("bold", PROMOTE)], PROMOTE);
        decided(vec![says("bold", PROMOTE), says("patient", WAIT)], WAIT);
        decided(vec![says("patient", WAIT), says("anxious", Course::Freeze)], Course::Freeze);
        let longer = Course::Wait { again: Duration::from_secs(9) };
        decided(vec![says("patient", WAIT), says("lazy", longer)], longer);
    }

    #[test]
    fn without_policies_an_operator_decides() {
        decided(vec![], Course::Freeze);
    }

    #[test]
    fn one_that_failed_might_have_been_the_careful_one() {
        let trap = crate::PolicyFailure { class: "trap".into(), message: "unreachable".into() };
        decided(vec![says("bold", PROMOTE), samples::answer("broken", Err(trap))], Course::Freeze);
    }

    #[test]
    fn one_in_shadow_changes_nothing() {
        let shadow = PolicyAnswer { shadow: true, ..says("anxious", Course::Freeze) };
        decided(vec![says("bold", PROMOTE), shadow.clone()], PROMOTE);
        // What it would do is told all the same.
        let (view, incident) = incident();
        let said =
            decide(&view, &incident, vec![shadow, says("bold", PROMOTE)]).rulings.remove(0).said;
        let said: Vec<_> = said.iter().map(|s| (s.policy.as_str(), s.shadow)).collect();
        assert_eq!(said, [("bold", false), ("anxious", true)]);
    }

    #[test]
    fn nothing_is_promoted_that_the_guard_does_not_allow() {
        let (view, incident) = incident();
        for doubtful in
            [Incident { fenced: false, ..incident.clone() }, Incident { votes: 1, ..incident }]
        {
            let ruling = decide(&view, &doubtful, vec![says("bold", PROMOTE)]).rulings.remove(0);
            assert!(matches!(ruling.course, Course::Wait { .. }), "{ruling:?}");
            assert!(ruling.held_back.is_some(), "{ruling:?}");
        }
    }

    #[test]
    fn a_replica_that_cannot_be_promoted_makes_the_answer_invalid() {
        // The second is on the silent node, the third does not exist.
        for replica in [1, 2] {
            let (view, incident) = incident();
            let answers = vec![says("wrong", Course::Promote { replica })];
            let decision = decide(&view, &incident, answers);
            assert_eq!(decision.rulings[0].course, Course::Freeze);
            assert_eq!(decision.consultation.failures[0].failure.class, "invalid-answer");
        }
    }
}
