//! Spreads apps: each goes to the node with the fewest apps and the most left. Refuses nothing.

mod logic;

use flocker_sdk::{Node, Placement, Policy, Request, Score};

use crate::logic::{Share, score};

/// Glue between the SDK and the logic.
#[derive(Debug, Default)]
pub struct Spread;

impl Policy for Spread {}

impl Placement for Spread {
    fn score(&self, node: &Node, request: &Request) -> Score {
        let here = request.is_at(node);
        // Where the app is, its own needs are among the promised ones already.
        let need = |amount: u64| if here { 0 } else { amount };
        let holds = request.is_held_by(node);
        let arriving = if holds { 0 } else { request.size() };
        let used = node.pool().saturating_sub(node.pool_free());
        let memory = Share {
            whole: node.memory(),
            taken: node.memory_promised().saturating_add(need(request.memory())),
        };
        let cpu_need = need(request.cpu_millis().into());
        let cpu = Share {
            whole: node.cpu_millis(),
            taken: node.cpu_promised_millis().saturating_add(cpu_need),
        };
        let space = Share { whole: node.pool(), taken: used.saturating_add(arriving) };
        let neighbours = node.apps().saturating_sub(here.into());
        let points = score(neighbours, memory, cpu, space, holds);
        Score::good(points).because_with(|| format!("{neighbours} other apps"))
    }
}

flocker_sdk::export!(Spread);
