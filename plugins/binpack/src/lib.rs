//! Packs apps: each goes to the fullest node where it still fits, so that other nodes stay empty and can be turned off.

mod logic;

use flocker_sdk::{Node, Placement, Policy, Request, Score};

use crate::logic::{Demand, Fit, fit};

/// Glue between the SDK and the logic.
#[derive(Debug, Default)]
pub struct Binpack;

impl Policy for Binpack {}

impl Placement for Binpack {
    fn score(&self, node: &Node, request: &Request) -> Score {
        let here = request.is_at(node);
        // Where the app is, its own needs are among the promised ones already.
        let need = |amount: u64| if here { 0 } else { amount };
        let neighbours = node.apps().saturating_sub(here.into());
        let memory = Demand {
            whole: node.memory(),
            taken: node.memory_promised(),
            need: need(request.memory()),
        };
        let cpu = Demand {
            whole: node.cpu_millis(),
            taken: node.cpu_promised_millis(),
            need: need(request.cpu_millis().into()),
        };
        match fit(neighbours, memory, cpu) {
            Fit::Fits(points) => {
                Score::good(points).because_with(|| format!("{neighbours} other apps"))
            }
            Fit::TooLittleMemory => Score::refuse("too little memory left").code(1),
            Fit::TooLittleCpu => Score::refuse("too little CPU left").code(2),
        }
    }
}

flocker_sdk::export!(Binpack);
