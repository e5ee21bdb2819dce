//! When a volume's next snapshot is due, from plain moments.

use flocker_sdk::Timestamp;

use crate::settings::Settings;

/// When a snapshot is due, and what for; `None` while nothing was written since the last one.
///
/// Nobody knows when the first write after the last snapshot was, only when the last one was. So it counts as early as it
/// can have been, right after the snapshot: the first write after a long rest is saved at once, and never too late.
pub(crate) fn due(
    settings: &Settings,
    written: Option<Timestamp>,
    snapshot: Option<Timestamp>,
    now: Timestamp,
) -> Option<(Timestamp, &'static str)> {
    match (written, snapshot) {
        (_, None) => Some((now, "first")),
        (None, Some(_)) => None,
        (Some(written), Some(snapshot)) if written < snapshot => None,
        (Some(written), Some(snapshot)) => {
            let quiet = written + settings.quiet();
            let latest = (snapshot + settings.latest()).max(written);
            Some(if quiet <= latest { (quiet, "quiet") } else { (latest, "busy") })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds, to keep the table readable.
    fn at(second: u64) -> Timestamp {
        Timestamp(1000 * second)
    }

    #[test]
    fn a_pause_or_a_long_time_without_one_is_saved() {
        let now = at(100);
        for (written, snapshot, expected, why) in [
            (Some(98), Some(97), Some((101, "quiet")), "three seconds after the last write"),
            (Some(96), Some(95), Some((99, "quiet")), "the pause is over already"),
            (Some(100), Some(86), Some((101, "busy")), "15 s after the last snapshot"),
            (Some(100), Some(85), Some((100, "busy")), "writes do not end"),
            (Some(99), Some(10), Some((99, "busy")), "the first write after a long rest"),
            (Some(95), Some(95), Some((98, "quiet")), "it may have been a moment later"),
            (Some(94), Some(95), None, "nothing was written since"),
            (None, Some(95), None, "nobody was ever seen to write"),
            (Some(50), None, Some((100, "first")), "there is none yet"),
            (None, None, Some((100, "first")), "there is none yet, and nothing is known"),
        ] {
            let expected = expected.map(|(second, label)| (at(second), label));
            let got = due(&Settings::default(), written.map(at), snapshot.map(at), now);
            assert_eq!(got, expected, "{why}");
        }
    }

    /// A clock second by second: what is written at each, and whether a snapshot follows in time.
    #[test]
    fn no_write_waits_longer_than_the_latest_moment_and_a_rest_costs_nothing() {
        let settings = Settings::default();
        let busy = |second: u64| matches!(second, 20..=80 | 97 | 194 | 291 | 300 | 388);
        let (mut written, mut snapshot, mut unsaved) = (None, Some(at(0)), None);
        let mut taken = Vec::new();
        for second in 1..400 {
            if busy(second) {
                written = Some(at(second));
                unsaved = unsaved.or(Some(second));
            }
            if due(&settings, written, snapshot, at(second))
                .is_some_and(|(when, _)| when <= at(second))
            {
                // What was written in this second is in it.
                snapshot = Some(Timestamp(at(second).0 + 1));
                taken.push(second);
                assert!(unsaved.take().is_some(), "nothing was written before second {second}");
            }
            assert!(unsaved.is_none_or(|first| second - first <= 15), "second {second}");
        }
        assert!(taken.len() < 12, "{taken:?}");
    }
}
