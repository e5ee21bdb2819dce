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
    commands::{Command, Event, Failure, GroupId, Last, News, Standing, What},
    duties::{Duty, duties},
    keeper::{Keeper, PREFIX},
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

/// What the new owner is sent on the way from `base` to `to`: the snapshots that replicas on other nodes are at, so that it
/// can go on from them. Without, each of these replicas would have to be sent everything again.
#[must_use]
pub fn stops(
    source: &[Snapshot],
    base: Option<&Point>,
    to: &Point,
    others: &[Point],
) -> Vec<Point> {
    let points = || source.iter().map(|snapshot| &snapshot.point);
    let known = |base: &Point| points().any(|point| point.guid == base.guid);
    let after = points().skip_while(|point| base.is_some_and(|b| known(b) && point.guid != b.guid));
    let between = after.take_while(|point| point.guid != to.guid);
    let wanted = |point: &&Point| {
        others.iter().any(|other| other.guid == point.guid)
            && base.is_none_or(|base| base.guid != point.guid)
    };
    between.filter(wanted).cloned().collect()
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

#[cfg(test)]
mod tests {
    use flocker_model::{ByteSize, Guid, SnapshotTag, Timestamp};

    use super::*;

    fn point(number: u64) -> Point {
        let tag = SnapshotTag::new(format!("s{number}")).unwrap();
        Point { tag, guid: Guid(format!("g{number}")) }
    }

    fn snapshot(number: u64) -> Snapshot {
        Snapshot { point: point(number), taken: Timestamp(number), referenced: ByteSize(0) }
    }

    #[test]
    fn a_new_owner_gets_what_the_other_replicas_are_at() {
        let source: Vec<_> = (1..=6).map(snapshot).collect();
        let others = [point(2), point(4), point(6), point(9)];

        assert_eq!(stops(&source, None, &point(5), &others), [point(2), point(4)]);
        assert_eq!(stops(&source, Some(&point(2)), &point(5), &others), [point(4)]);
        assert_eq!(stops(&source, Some(&point(4)), &point(5), &others), []);
        assert_eq!(stops(&source, Some(&point(3)), &point(6), &others), [point(4)]);
    }
}
