//! Which replica may take over, from plain moments.

use std::{cmp::Reverse, time::Duration};

use flocker_sdk::Timestamp;

/// A replica on a node that answers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    /// When its snapshot was taken.
    pub(crate) taken: Option<Timestamp>,
    /// Whether its node is being emptied.
    pub(crate) draining: bool,
}

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Promote the replica at this position.
    Promote { position: usize, why: String },
    /// Leave it to an operator.
    Freeze { why: String },
}

/// The newest replica, if it lacks no more than `max_lag` of what was written before the silence. Where it is known when
/// somebody last wrote, what came after that is not missing: a volume that rested has a good replica, however old.
pub(crate) fn choose(
    held: &[Held],
    written: Option<Timestamp>,
    silent_since: Timestamp,
    max_lag: Duration,
) -> Choice {
    let freeze = |why: String| Choice::Freeze { why };
    // Of two that are equally new, the one on a node that stays.
    let newest = held
        .iter()
        .enumerate()
        .filter_map(|(position, held)| {
            Some((held.taken?, Reverse(held.draining), Reverse(position)))
        })
        .max();
    let Some((taken, _, Reverse(position))) = newest else {
        return freeze(match held.len() {
            0 => "no node that answers has a replica".to_owned(),
            n => format!("nobody knows how old its {n} replicas are"),
        });
    };
    let last = written.map_or(silent_since, |written| written.min(silent_since));
    let lag = last.since(taken);
    if lag > max_lag {
        let (lag, max_lag) = (lag.as_secs_f64(), max_lag.as_secs());
        return freeze(format!("the newest replica is {lag:.1} s behind, more than {max_lag} s"));
    }
    let why = format!("the newest replica is {:.1} s behind", lag.as_secs_f64());
    Choice::Promote { position, why }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Timestamp {
        Timestamp(1000 * second)
    }

    fn held(second: u64) -> Held {
        Held { taken: Some(at(second)), draining: false }
    }

    /// The node fell silent at second 1000, and 60 s may be missing.
    fn chosen(held: &[Held], written: Option<u64>) -> Choice {
        choose(held, written.map(at), at(1000), Duration::from_secs(60))
    }

    #[track_caller]
    fn promotes(held: &[Held], written: Option<u64>, expected: usize) {
        let chosen = chosen(held, written);
        assert!(
            matches!(&chosen, Choice::Promote { position, .. } if *position == expected),
            "{chosen:?}"
        );
    }

    #[track_caller]
    fn freezes(held: &[Held], written: Option<u64>, word: &str) {
        let chosen = chosen(held, written);
        assert!(matches!(&chosen, Choice::Freeze { why } if why.contains(word)), "{chosen:?}");
    }

    #[test]
    fn the_newest_replica_is_promoted_if_it_is_fresh() {
        promotes(&[held(950), held(990), held(970)], None, 1);
        promotes(&[held(940)], None, 0);
        freezes(&[held(939)], None, "61.0 s behind, more than 60 s");
        // Clocks of two nodes are never quite the same.
        promotes(&[held(1001)], None, 0);
    }

    #[test]
    fn what_nobody_wrote_is_not_missing() {
        promotes(&[held(100)], Some(99), 0);
        promotes(&[held(100)], Some(160), 0);
        freezes(&[held(100)], Some(161), "61.0 s behind");
        // A write that was seen after the silence began is no excuse for an older replica.
        freezes(&[held(939)], Some(2000), "61.0 s behind");
    }

    #[test]
    fn what_is_not_known_is_left_to_an_operator() {
        freezes(&[], None, "no node that answers");
        freezes(&[Held { taken: None, draining: false }], None, "how old");
        promotes(&[Held { taken: None, draining: false }, held(990)], None, 1);
    }

    #[test]
    fn among_equals_the_one_on_a_node_that_stays() {
        let leaving = Held { draining: true, ..held(990) };
        promotes(&[leaving, held(990), held(990)], None, 1);
        promotes(&[leaving, held(989)], None, 0);
    }
}
