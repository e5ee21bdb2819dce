//! The policy that is always there. It decides when no plugin has an opinion on a question, and when none of those that
//! have one gives an answer that can be used.

use std::{sync::Arc, time::Duration};

use crate::{
    Answer, ClusterView, Droppable, Incident, PlacementQuestion, Policies, PolicyAnswer,
    ProposedMove, PruneQuestion, RebalanceQuestion, Schedule, ScheduleQuestion, Verdict,
    backups::Due,
    failover::Course,
    placement::score,
    retention::{Gfs, superfluous},
};

/// Apps go where most is left; no move is proposed for the balance of the whole; a silent node's volumes wait for an operator; a
/// snapshot each hour, kept by [`Gfs::default`].
#[derive(Debug, Clone, Copy, Default)]
pub struct BuiltIn;

/// How old a volume's newest snapshot may become.
const SNAPSHOT_EVERY: Duration = Duration::from_hours(1);

impl Policies for BuiltIn {
    fn place(
        &self,
        view: &Arc<ClusterView>,
        question: &PlacementQuestion,
    ) -> Vec<PolicyAnswer<Answer>> {
        let score = |row: &u32| {
            let node = usize::try_from(*row).ok().and_then(|row| view.nodes.get(row));
            // A row that does not exist is refused, never guessed at.
            node.map_or(-1, |node| score::score(node, *row, question))
        };
        let scores = question.candidates.iter().map(score).collect();
        vec![PolicyAnswer::built_in(Answer { scores, ..Answer::default() })]
    }

    fn rebalance(
        &self,
        _: &Arc<ClusterView>,
        _: &RebalanceQuestion,
    ) -> Vec<PolicyAnswer<Vec<ProposedMove>>> {
        // Whether another node is better is a question about each app, and placement answers it.
        Vec::new()
    }

    fn fail_over(
        &self,
        _: &Arc<ClusterView>,
        question: &Incident,
    ) -> Vec<PolicyAnswer<Vec<Verdict>>> {
        let freeze = || Verdict {
            course: Course::Freeze,
            reason: "no policy for failover is configured".to_owned(),
        };
        vec![PolicyAnswer::built_in(question.volumes.iter().map(|_| freeze()).collect())]
    }

    fn schedule(
        &self,
        view: &Arc<ClusterView>,
        question: &ScheduleQuestion,
    ) -> Vec<PolicyAnswer<Schedule>> {
        let due = |row: &u32| {
            let volume = view.volumes.get(usize::try_from(*row).ok()?)?;
            let at = volume.snapshot.map_or(view.now, |last| last + SNAPSHOT_EVERY);
            (at.since(view.now) <= question.horizon).then(|| Due {
                volume: *row,
                at,
                lane: crate::backups::SNAPSHOT.to_owned(),
                label: "hourly".to_owned(),
            })
        };
        let due = question.volumes.iter().filter_map(due).collect();
        vec![PolicyAnswer::built_in(Schedule { due, ask_again: question.horizon })]
    }

    fn prune(
        &self,
        view: &Arc<ClusterView>,
        question: &PruneQuestion,
    ) -> Vec<PolicyAnswer<Vec<Droppable>>> {
        let taken: Vec<_> = question.copies.iter().map(|c| c.taken).collect();
        vec![PolicyAnswer::built_in(superfluous(&Gfs::default(), view.now, &taken))]
    }
}

/// Nobody: what is asked where no plugin is loaded. Placement is then the built-in policy's, and everything else is left.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPolicies;

impl Policies for NoPolicies {
    fn place(&self, _: &Arc<ClusterView>, _: &PlacementQuestion) -> Vec<PolicyAnswer<Answer>> {
        Vec::new()
    }

    fn rebalance(
        &self,
        _: &Arc<ClusterView>,
        _: &RebalanceQuestion,
    ) -> Vec<PolicyAnswer<Vec<ProposedMove>>> {
        Vec::new()
    }

    fn fail_over(&self, _: &Arc<ClusterView>, _: &Incident) -> Vec<PolicyAnswer<Vec<Verdict>>> {
        Vec::new()
    }

    fn schedule(&self, _: &Arc<ClusterView>, _: &ScheduleQuestion) -> Vec<PolicyAnswer<Schedule>> {
        Vec::new()
    }

    fn prune(&self, _: &Arc<ClusterView>, _: &PruneQuestion) -> Vec<PolicyAnswer<Vec<Droppable>>> {
        Vec::new()
    }
}
