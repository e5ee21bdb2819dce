//! Copies on other nodes: how they are kept up to date, which snapshot two nodes have in common, and whether another
//! round of increments is worth its while.

mod commands;
mod duties;
#[cfg(test)]
mod interleavings;
mod keeper;
mod path;

use std::time::Duration;

use flocker_model::{Point, Round, Snapshot};

pub use self::{
    commands::{Command, Event, Failure, GroupId, News, Standing, What},
    duties::{Duty, duties},
    keeper::{Keeper, PREFIX},
    path::{Conflict, Path, path},
};

/// Increments are sent until one is this short: what is written in that time is what the last one, while nobody can
/// write, has to carry.
pub const CONVERGED: Duration = Duration::from_millis(100);

/// Rounds at most; an app that writes faster than the network never converges.
pub const ROUNDS_MAX: usize = 10;

/// The newest snapshot that both hold, by GUID: names may lie. `None` sends everything.
#[must_use]
pub fn common_base(source: &[Snapshot], target: &[Snapshot]) -> Option<Point> {
    let held = |point: &Point| target.iter().any(|s| s.point.guid == point.guid);
    source.iter().rev().map(|s| &s.point).find(|p| held(p)).cloned()
}

/// Snapshots of ours that neither side needs, once both hold `keep`.
#[must_use]
pub fn superseded(snapshots: &[Snapshot], keep: &Point, prefix: &str) -> Vec<Point> {
    let ours = |p: &Point| p.tag.as_str().starts_with(prefix) && p.guid != keep.guid;
    snapshots.iter().map(|s| &s.point).filter(|p| ours(p)).cloned().collect()
}

/// Whether to send another increment before the app is stopped.
#[must_use]
pub fn another_round(rounds: &[Round]) -> bool {
    let [.., before, last] = rounds else { return true };
    let short = last.transfer.took <= CONVERGED;
    let shrinks = last.transfer.took * 10 < before.transfer.took * 9;
    !short && shrinks && rounds.len() < ROUNDS_MAX
}
