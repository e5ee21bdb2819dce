//! What was decided and why: everything that `flocker explain` shows. Holds no opinion of its own.

use std::{fmt, time::Duration};

use flocker_model::{AppName, NodeName, OperationId, Purpose, Timestamp};

use super::Excluded;
use crate::{Candidate, Consulted, Evidence, Failed, Opinion, PlacementQuestion, PolicyFailure};

/// Who had the last word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecidedBy {
    /// The policies whose answers could be used.
    Policies,
    /// The built-in policy: none is configured, or none gave an answer that could be used.
    BuiltIn,
    /// The hard rules: they left nothing to ask about.
    Rules,
    /// A rebalance policy that proposed the move; no placement policy refused it.
    Rebalance,
    /// An operator, by name of the node; what policies said is advice that was not taken.
    Operator,
}

/// A policy that was asked, and that nobody listened to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shadow {
    /// Its name and version.
    pub policy: String,
    /// The node that it would have chosen, if any; or why its answer could not have been used.
    pub would: Result<Option<NodeName>, PolicyFailure>,
}

/// Candidates that are as good as the best one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tie {
    /// The others.
    pub with: Vec<NodeName>,
    /// Why the best one comes before them.
    pub settled: Settled,
}

/// How a tie is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// The app is there already.
    Present,
    /// By a lot, which follows from the decision's id and the names of the nodes.
    Lot,
}

/// Where an app goes, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The decision's id; the operation that follows from it has the same.
    pub id: OperationId,
    /// When it was made.
    pub at: Timestamp,
    /// The app.
    pub app: AppName,
    /// Why it was asked.
    pub purpose: Purpose,
    /// The node that won; `None` when there is none, see [`Decision::why_none`].
    pub chosen: Option<NodeName>,
    /// Who had the last word.
    pub decided_by: DecidedBy,
    /// The nodes that policies were asked about, the best first.
    pub candidates: Vec<Candidate>,
    /// Others that are as good as the first of them.
    pub tie: Option<Tie>,
    /// The nodes that a hard rule excluded.
    pub excluded: Vec<Excluded>,
    /// Everybody who was asked.
    pub consulted: Vec<Consulted>,
    /// Policies whose answers could not be used.
    pub failures: Vec<Failed>,
    /// What policies in shadow would have done.
    pub shadows: Vec<Shadow>,
    /// A policy would rather be asked again after this time, if the app can wait.
    pub ask_again: Option<Duration>,
}

impl Decision {
    /// A decision about nothing yet.
    pub(super) fn new(question: &PlacementQuestion, at: Timestamp) -> Self {
        Self {
            id: question.decision.clone(),
            at,
            app: question.name.clone(),
            purpose: question.purpose,
            chosen: None,
            decided_by: DecidedBy::Rules,
            candidates: Vec::new(),
            tie: None,
            excluded: Vec::new(),
            consulted: Vec::new(),
            failures: Vec::new(),
            shadows: Vec::new(),
            ask_again: None,
        }
    }

    /// How scores are made of opinions, for people; `None` where there is one opinion at most.
    fn weights(&self) -> Option<String> {
        let opinions = &self.candidates.first()?.opinions;
        let total: u64 = opinions.iter().map(|opinion| u64::from(opinion.weight)).sum();
        let share = |o: &Opinion| format!("{}/{total} {}", o.weight, o.policy);
        (opinions.len() > 1).then(|| opinions.iter().map(share).collect::<Vec<_>>().join(" + "))
    }

    /// Why the first of several equally good nodes comes first, for people.
    fn why_first(&self) -> Option<String> {
        let (first, tie) = (self.candidates.first()?, self.tie.as_ref()?);
        let others: Vec<_> = tie.with.iter().map(|node| format!("`{node}`")).collect();
        let (first, others) = (&first.node, others.join(", "));
        Some(match tie.settled {
            Settled::Present => {
                format!("`{first}` comes before {others} of the same score, as the app is there")
            }
            Settled::Lot => format!(
                "`{first}` comes before {others} of the same score by a lot, drawn from the decision's id"
            ),
        })
    }

    /// Why no node was chosen, for people; `None` when one was.
    #[must_use]
    pub fn why_none(&self) -> Option<String> {
        if self.chosen.is_some() {
            return None;
        }
        let excluded = self.excluded.iter().map(|e| format!("`{}` {}", e.node, e.reason));
        let refused =
            self.candidates.iter().map(|c| format!("`{}` {}", c.node, c.reasons.join(", ")));
        let all: Vec<_> = refused.chain(excluded).collect();
        Some(if all.is_empty() { "the cluster has no node".into() } else { all.join("; ") })
    }
}

/// Columns that are named of those that a policy read.
const COLUMNS_SHOWN: usize = 12;

/// The columns in one text; where they are not all named, how many more there are.
fn read(columns: &[String], all: bool) -> String {
    match columns.split_at_checked(COLUMNS_SHOWN) {
        Some((shown, more)) if !all && !more.is_empty() => {
            format!("{} and {} more", shown.join(", "), more.len())
        }
        Some(_) | None => columns.join(", "),
    }
}

/// For people: a policy that reads a label of each node's own reads thousands of columns, so `{:#}` alone names them all.
impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.chosen {
            Some(node) => writeln!(f, "app `{}` ({}): `{node}`", self.app, self.purpose)?,
            None => writeln!(f, "app `{}` ({}): no node", self.app, self.purpose)?,
        }
        let by = match self.decided_by {
            DecidedBy::Policies => "the policies",
            DecidedBy::BuiltIn if self.failures.is_empty() => {
                "the built-in policy, as no plugin is configured"
            }
            DecidedBy::BuiltIn => {
                "the built-in policy, as no plugin gave an answer that could be used"
            }
            DecidedBy::Rules => "the hard rules, which left no node to ask about",
            DecidedBy::Rebalance => {
                "a rebalance policy, whose proposal no placement policy refuses"
            }
            DecidedBy::Operator => "an operator, who named the node; the policies say",
        };
        writeln!(f, "decided by {by}")?;
        if let Some(weights) = self.weights() {
            writeln!(f, "a score is {weights}, and one refusal is enough")?;
        }
        if let Some(why) = self.why_first() {
            writeln!(f, "{why}")?;
        }
        for candidate in &self.candidates {
            let score = candidate.score.map_or_else(|| "refused".to_owned(), |s| s.to_string());
            writeln!(f, "  {:<12} {score:>7}   {}", candidate.node, candidate.reasons.join(", "))?;
        }
        for excluded in &self.excluded {
            writeln!(f, "  {:<12} {:>7}   {}", excluded.node, "no", excluded.reason)?;
        }
        for Failed { policy, failure } in &self.failures {
            writeln!(f, "  policy `{policy}` failed ({}): {}", failure.class, failure.message)?;
        }
        for Shadow { policy, would } in &self.shadows {
            match would {
                Ok(Some(node)) => {
                    writeln!(f, "  policy `{policy}` (shadow) would choose `{node}`")?
                }
                Ok(None) => writeln!(f, "  policy `{policy}` (shadow) would refuse every node")?,
                Err(PolicyFailure { class, message }) => {
                    writeln!(f, "  policy `{policy}` (shadow) failed ({class}): {message}")?;
                }
            }
        }
        for consulted in self.consulted.iter().filter(|c| !c.evidence.columns.is_empty()) {
            let Evidence { columns, fuel } = &consulted.evidence;
            writeln!(
                f,
                "  policy `{}` read {} (fuel {fuel})",
                consulted.policy,
                read(columns, f.alternate())
            )?;
        }
        if let Some(wait) = self.ask_again {
            writeln!(f, "  a policy would rather be asked again in {} ms", wait.as_millis())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_that_reads_very_much_is_not_quoted_in_full() {
        let columns: Vec<_> = (1..=14).map(|n| format!("nodes/label:{n:02}")).collect();

        let text = read(&columns, false);

        assert!(text.starts_with("nodes/label:01, nodes/label:02"), "{text}");
        assert!(text.ends_with("nodes/label:12 and 2 more"), "{text}");
        assert_eq!(read(&columns, true), columns.join(", "));
        assert_eq!(read(&columns[..12], false), columns[..12].join(", "));
    }
}
