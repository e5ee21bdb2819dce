//! A small policy as many are: it reads four columns. The benchmark asks it, and its logic natively, the same.

mod logic;

use flocker_sdk::{Node, Placement, Policy, Request, Score};

use crate::logic::{Room, score};

/// Glue between the SDK and the logic.
#[derive(Debug, Default)]
pub struct FourColumns;

impl Policy for FourColumns {}

impl Placement for FourColumns {
    fn score(&self, node: &Node, request: &Request) -> Score {
        let room = Room {
            memory: node.memory(),
            memory_free: node.memory_free(),
            pool_free: node.pool_free(),
            apps: node.apps(),
        };
        match score(room, request.memory(), request.size()) {
            Some(points) => Score::good(points),
            None => Score::refuse("its pool is too small"),
        }
    }
}

flocker_sdk::export!(FourColumns);
