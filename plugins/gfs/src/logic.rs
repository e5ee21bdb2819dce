//! When the next snapshot is due, and which copies to keep, from plain moments.

use std::{collections::BTreeSet, time::Duration};

use flocker_sdk::Timestamp;
use time::OffsetDateTime;

use crate::settings::Settings;

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;
/// 1970-01-01 was a Thursday.
const MONDAY_MS: u64 = 3 * DAY_MS;

/// The first full `every` after the last snapshot. Counted by the clock and not from the last one, so that delays do not
/// add up until an hour is left out.
pub(crate) fn next(every: Duration, last: Option<Timestamp>, now: Timestamp) -> Timestamp {
    let every = u64::try_from(every.as_millis()).unwrap_or(u64::MAX).max(1);
    last.map_or(now, |last| Timestamp((last.0 / every).saturating_add(1).saturating_mul(every)))
}

/// The positions of copies that may go, given when each was taken, oldest first. Never the newest one.
pub(crate) fn superfluous(keep: &Settings, now: Timestamp, taken: &[Timestamp]) -> Vec<usize> {
    let mut kept: BTreeSet<usize> = taken.len().checked_sub(1).into_iter().collect();
    let young = |(_, at): &(usize, &Timestamp)| now.since(**at) < keep.all();
    kept.extend(taken.iter().enumerate().filter(young).map(|(position, _)| position));
    for (count, period) in rules(keep) {
        kept.extend(newest_of_each(taken, count, period));
    }
    (0..taken.len()).filter(|position| !kept.contains(position)).collect()
}

/// Tells which period a moment is in: the larger, the later.
type Period = fn(Timestamp) -> u64;

/// How many periods of which kind are kept.
fn rules(keep: &Settings) -> [(u32, Period); 5] {
    [
        (keep.hourly, |at| at.0 / HOUR_MS),
        (keep.daily, |at| at.0 / DAY_MS),
        (keep.weekly, |at| at.0.saturating_add(MONDAY_MS) / (7 * DAY_MS)),
        (keep.monthly, |at| 12 * year_and_month(at).0 + year_and_month(at).1),
        (keep.yearly, |at| year_and_month(at).0),
    ]
}

fn year_and_month(at: Timestamp) -> (u64, u64) {
    let seconds = i64::try_from(at.0 / 1000).unwrap_or(i64::MAX);
    // What lies beyond the calendar counts as one period, the last one.
    let date = OffsetDateTime::from_unix_timestamp(seconds).map_or(time::Date::MAX, |t| t.date());
    (u64::try_from(date.year()).unwrap_or(0), u64::from(u8::from(date.month())))
}

/// The newest copy of each of the last `count` periods that have any.
fn newest_of_each(taken: &[Timestamp], count: u32, period: Period) -> Vec<usize> {
    let mut kept = Vec::new();
    let mut last = None;
    for (position, at) in taken.iter().enumerate().rev() {
        let this = Some(period(*at));
        if this != last && kept.len() < count as usize {
            kept.push(position);
        }
        last = this;
    }
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Midnight at the beginning of a day of 2024, which began on a Monday and had a 29th of February.
    fn day(of_year: u64) -> Timestamp {
        Timestamp(1_704_067_200_000 + (of_year - 1) * DAY_MS)
    }

    #[test]
    fn snapshots_are_due_on_the_hour_however_late_the_last_one_was() {
        let hour = Duration::from_secs(3600);
        let (noon, late) =
            (Timestamp(day(1).0 + 12 * HOUR_MS), Timestamp(day(1).0 + 12 * HOUR_MS + 40_000));
        let one = Timestamp(noon.0 + HOUR_MS);
        assert_eq!(next(hour, Some(noon), late), one);
        assert_eq!(next(hour, Some(late), late), one);
        assert_eq!(next(hour, None, late), late);
    }

    #[test]
    fn the_newest_stands_for_its_day_its_month_and_its_year() {
        let leap = |of_year, hour: u64| Timestamp(day(of_year).0 + hour * HOUR_MS);
        // The 28th and 29th of February, twice each; the 1st of March.
        let taken = [leap(59, 1), leap(59, 9), leap(60, 1), leap(60, 9), leap(61, 1)];
        let now = leap(61, 2);
        let dropped = |keep: Settings| superfluous(&keep, now, &taken);
        assert_eq!(dropped(Settings { daily: 2, ..Settings::none() }), [0, 1, 2]);
        assert_eq!(dropped(Settings { monthly: 2, ..Settings::none() }), [0, 1, 2]);
        assert_eq!(dropped(Settings { yearly: 2, ..Settings::none() }), [0, 1, 2, 3]);
        assert_eq!(dropped(Settings { hourly: 9, ..Settings::none() }), [0; 0]);
        assert_eq!(dropped(Settings { all_minutes: 25 * 60, ..Settings::none() }), [0, 1, 2]);
    }

    #[test]
    fn a_week_begins_on_monday() {
        let sunday_and_monday = [day(7), day(8)];
        let weekly = Settings { weekly: 1, ..Settings::none() };
        assert_eq!(superfluous(&weekly, day(9), &sunday_and_monday), [0]);
        let same_week = [day(8), day(14)];
        let weekly = Settings { weekly: 2, ..Settings::none() };
        assert_eq!(superfluous(&weekly, day(15), &same_week), [0]);
    }

    fn settings() -> impl Strategy<Value = Settings> {
        let few = || 0u32..5;
        (0u32..5000, few(), few(), few(), few(), few()).prop_map(
            |(all_minutes, hourly, daily, weekly, monthly, yearly)| Settings {
                all_minutes,
                hourly,
                daily,
                weekly,
                monthly,
                yearly,
                ..Settings::none()
            },
        )
    }

    /// Three years of copies, some of them close together.
    fn copies() -> impl Strategy<Value = Vec<Timestamp>> {
        let far = 0..3 * 366 * DAY_MS;
        let near = 1000 * DAY_MS..1003 * DAY_MS;
        proptest::collection::vec(prop_oneof![far, near], 0..60).prop_map(|mut offsets| {
            offsets.sort_unstable();
            offsets.into_iter().map(|offset| Timestamp(day(1).0 + offset)).collect()
        })
    }

    proptest! {
        /// What is kept is a superset of what each rule keeps, by the rule's own words: a copy stands for its period
        /// if none newer is in it, and counts if fewer than `count` later periods have any.
        #[test]
        fn whatever_a_rule_wants_is_kept(keep in settings(), taken in copies(), later in 0..DAY_MS) {
            let now = Timestamp(taken.last().map_or(day(1).0, |at| at.0) + later);
            let dropped = superfluous(&keep, now, &taken);
            for position in dropped {
                prop_assert!(position + 1 < taken.len(), "the newest is dropped");
                prop_assert!(now.since(taken[position]) >= keep.all(), "a young one is dropped");
                for (count, period) in rules(&keep) {
                    let this = period(taken[position]);
                    let newer: Vec<_> = taken[position + 1..].iter().map(|at| period(*at)).collect();
                    let later: BTreeSet<_> = newer.iter().filter(|p| **p != this).collect();
                    let stands_for_its_period = !newer.contains(&this);
                    prop_assert!(!stands_for_its_period || later.len() >= count as usize);
                }
            }
        }

        /// Pruning what was pruned drops nothing more.
        #[test]
        fn pruning_again_changes_nothing(keep in settings(), taken in copies()) {
            let now = taken.last().copied().unwrap_or_default();
            let dropped = superfluous(&keep, now, &taken);
            let left: Vec<_> = (taken.iter().enumerate())
                .filter(|(position, _)| !dropped.contains(position))
                .map(|(_, at)| *at)
                .collect();
            prop_assert_eq!(superfluous(&keep, now, &left), Vec::<usize>::new());
        }

        /// As much is kept as the rules ask for, and no more.
        #[test]
        fn no_more_is_kept_than_the_rules_ask_for(keep in settings(), taken in copies()) {
            let now = taken.last().copied().unwrap_or_default();
            let young = taken.iter().filter(|at| now.since(**at) < keep.all()).count();
            let by_rules: u32 = rules(&keep).iter().map(|(count, _)| count).sum();
            let kept = taken.len() - superfluous(&keep, now, &taken).len();
            prop_assert!(kept <= young + by_rules as usize + 1);
        }

        #[test]
        fn no_calendar_is_too_large(at in any::<u64>()) {
            let taken = [Timestamp(at), Timestamp(u64::MAX)];
            prop_assert!(superfluous(&Settings::default(), Timestamp(u64::MAX), &taken).len() < 2);
            prop_assert!(next(Duration::from_secs(3600), Some(Timestamp(at)), Timestamp(at)).0 >= at);
        }
    }
}
