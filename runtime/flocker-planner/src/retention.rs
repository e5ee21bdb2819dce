//! Grandfather, father, son: which copies to keep when old ones are worth less than young ones.

use std::{collections::BTreeSet, time::Duration};

use flocker_model::Timestamp;

use crate::Droppable;

/// How many of each to keep. The newest copy of an hour stands for that hour, and so on; weeks begin on Monday, all in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gfs {
    /// Everything younger than this is kept.
    pub all: Duration,
    /// Hours.
    pub hourly: u32,
    /// Days.
    pub daily: u32,
    /// Weeks.
    pub weekly: u32,
}

impl Default for Gfs {
    fn default() -> Self {
        Self { all: Duration::from_hours(1), hourly: 24, daily: 7, weekly: 4 }
    }
}

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;
/// 1970-01-01 was a Thursday.
const MONDAY_MS: u64 = 3 * DAY_MS;

/// The copies that may go, given when each was taken, oldest first. Never the newest one.
#[must_use]
pub fn superfluous(keep: &Gfs, now: Timestamp, taken: &[Timestamp]) -> Vec<Droppable> {
    let mut kept: BTreeSet<usize> = taken.len().checked_sub(1).into_iter().collect();
    kept.extend(
        taken.iter().enumerate().filter(|(_, at)| now.since(**at) < keep.all).map(|(i, _)| i),
    );
    let hour = |at: Timestamp| at.0 / HOUR_MS;
    let day = |at: Timestamp| at.0 / DAY_MS;
    let week = |at: Timestamp| (at.0 + MONDAY_MS) / (7 * DAY_MS);
    kept.extend(newest_of_each(taken, keep.hourly, hour));
    kept.extend(newest_of_each(taken, keep.daily, day));
    kept.extend(newest_of_each(taken, keep.weekly, week));
    (0..taken.len())
        .filter(|copy| !kept.contains(copy))
        .filter_map(|copy| u32::try_from(copy).ok())
        .map(|copy| Droppable {
            copy,
            reason: "a newer one stands for its hour, day and week".into(),
        })
        .collect()
}

/// The newest copy of each of the last `n` periods that have any.
fn newest_of_each(
    taken: &[Timestamp],
    n: u32,
    period: impl Fn(Timestamp) -> u64,
) -> BTreeSet<usize> {
    let mut kept = BTreeSet::new();
    let mut last = None;
    for (position, at) in taken.iter().enumerate().rev() {
        let this = Some(period(*at));
        if this != last && kept.len() < n as usize {
            kept.insert(position);
        }
        last = this;
    }
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Copies taken so many hours before now, oldest first, and which of them stay.
    fn kept(keep: Gfs, hours_ago: &[u64]) -> Vec<u64> {
        // A Wednesday, 12:30 UTC.
        let now = Timestamp(20_000 * DAY_MS + 5 * DAY_MS + 12 * HOUR_MS + HOUR_MS / 2);
        let taken: Vec<_> = hours_ago.iter().map(|h| Timestamp(now.0 - h * HOUR_MS)).collect();
        let gone: BTreeSet<_> =
            superfluous(&keep, now, &taken).into_iter().map(|d| d.copy as usize).collect();
        (0..taken.len()).filter(|i| !gone.contains(i)).map(|i| hours_ago[i]).collect()
    }

    #[test]
    fn the_newest_of_each_period_stays() {
        let keep = Gfs { all: Duration::ZERO, hourly: 2, daily: 2, weekly: 2 };
        // 12 h 30 ago and earlier is yesterday; 60 h 30 ago and earlier is Sunday, the week before.
        assert_eq!(kept(keep, &[200, 100, 70, 14, 13, 2, 1, 0]), [70, 13, 1, 0]);
    }

    #[test]
    fn periods_without_a_copy_do_not_count() {
        let keep = Gfs { all: Duration::ZERO, hourly: 0, daily: 3, weekly: 0 };
        assert_eq!(kept(keep, &[900, 800, 700, 600, 599]), [800, 700, 599]);
    }

    #[test]
    fn what_is_younger_than_the_limit_stays_all_of_it() {
        let keep = Gfs { all: Duration::from_hours(3), hourly: 0, daily: 0, weekly: 0 };
        assert_eq!(kept(keep, &[4, 3, 2, 2, 1]), [2, 2, 1]);
    }

    proptest! {
        /// What is kept is what any of the rules keeps, and the newest one.
        #[test]
        fn a_rule_more_keeps_no_less(
            hours in prop::collection::btree_set(0u64..2000, 0..60),
            hourly in 0u32..30, daily in 0u32..10, weekly in 0u32..6,
        ) {
            let hours: Vec<_> = hours.into_iter().rev().collect();
            let none = Gfs { all: Duration::ZERO, hourly: 0, daily: 0, weekly: 0 };
            let mut each: BTreeSet<_> = kept(Gfs { hourly, ..none }, &hours).into_iter().collect();
            each.extend(kept(Gfs { daily, ..none }, &hours));
            each.extend(kept(Gfs { weekly, ..none }, &hours));
            let all: BTreeSet<_> =
                kept(Gfs { hourly, daily, weekly, ..none }, &hours).into_iter().collect();
            prop_assert_eq!(&all, &each);
            prop_assert!(hours.last().is_none_or(|newest| all.contains(newest)));
        }
    }
}
