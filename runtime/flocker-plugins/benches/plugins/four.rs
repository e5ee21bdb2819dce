//! The small policy of `benches/policy`, as it is where nobody guards it: over the rows of the cluster.

use std::sync::Arc;

use flocker_planner::{
    Answer, ClusterView, Evidence, NodeRow, PlacementQuestion, Policies, PolicyAnswer, Reason,
};

use crate::logic::{Room, score};

/// The policy, compiled for this machine.
#[derive(Debug)]
pub(crate) struct FourColumns;

impl Policies for FourColumns {
    fn place(
        &self,
        view: &Arc<ClusterView>,
        question: &PlacementQuestion,
    ) -> Vec<PolicyAnswer<Answer>> {
        let room = |node: &NodeRow| Room {
            memory: node.memory.total.0,
            memory_free: node.memory.free.0,
            pool_free: node.pool.free.0,
            apps: node.apps.into(),
        };
        let mut answer = Answer::default();
        for row in &question.candidates {
            let room = room(&view.nodes[*row as usize]);
            let points = score(room, question.memory.0, question.size.0);
            answer.scores.push(points.map_or(-1, |points| i32::try_from(points).unwrap()));
            if points.is_none() {
                let text = "its pool is too small".to_owned();
                answer.reasons.push(Reason { candidate: *row, code: 0, text });
            }
        }
        vec![PolicyAnswer {
            policy: "four columns".to_owned(),
            digest: String::new(),
            weight: 1,
            shadow: false,
            answer: Ok(answer),
            evidence: Evidence::default(),
        }]
    }
}
