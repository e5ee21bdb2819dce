//! The policy that is always there: apps go where most is left. It decides when no plugin is configured, and when none
//! of the configured ones gives an answer that can be used.

use std::sync::Arc;

use crate::{Answer, ClusterView, NodeRow, PlacementQuestion, Policies, PolicyAnswer};

/// Prefers the node that has promised the least and holds the fewest apps; among equals, one that holds the data. Has no
/// opinion on anything else.
#[derive(Debug, Clone, Copy, Default)]
pub struct BuiltIn;

impl Policies for BuiltIn {
    fn place(
        &self,
        view: &Arc<ClusterView>,
        question: &PlacementQuestion,
    ) -> Vec<PolicyAnswer<Answer>> {
        let score = |row: &u32| {
            let node = usize::try_from(*row).ok().and_then(|row| view.nodes.get(row));
            // A row that does not exist is refused, never guessed at.
            node.map_or(-1, |node| score(node, *row, question))
        };
        let scores = question.candidates.iter().map(score).collect();
        vec![PolicyAnswer::built_in(Answer { scores, ..Answer::default() })]
    }
}

/// Points of 10000: half for few apps, three tenths for memory, a tenth each for CPU and space.
fn score(node: &NodeRow, row: u32, question: &PlacementQuestion) -> i32 {
    // Where it is, the app's own needs are among the promised ones; counting them twice would drive it away.
    let stays = question.current == Some(row);
    let added = |need: u64| if stays { 0 } else { need };
    let neighbours = if stays { node.apps.saturating_sub(1) } else { node.apps };
    let few = 10_000 / (1 + u64::from(neighbours));
    let memory =
        left(node.memory.total.0, node.memory_promised.0.saturating_add(added(question.memory.0)));
    let cpu = left(
        node.cpu.0.into(),
        u64::from(node.cpu_promised.0).saturating_add(added(question.cpu.0.into())),
    );
    let used = node.pool.total.0.saturating_sub(node.pool.free.0);
    let holds = stays || question.holders.contains(&row);
    let space =
        left(node.pool.total.0, used.saturating_add(if holds { 0 } else { question.size.0 }));
    // Enough to settle near-ties in favour of the shorter copy, too little to outweigh a neighbour.
    let bonus = if holds { 200 } else { 0 };
    let points = (5 * few + 3 * memory + cpu + space) / 10 + bonus;
    i32::try_from(points.min(10_000)).unwrap_or(10_000)
}

/// What is left of `total` in ten-thousandths.
fn left(total: u64, taken: u64) -> u64 {
    let free = u128::from(total.saturating_sub(taken));
    u64::try_from(free * 10_000 / u128::from(total.max(1))).unwrap_or(0)
}
