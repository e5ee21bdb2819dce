//! How good a node is for an app, from plain numbers.

use flocker_sdk::share;

/// Something that is used up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Share {
    /// All of it.
    pub(crate) whole: u64,
    /// What is taken, by the app as well.
    pub(crate) taken: u64,
}

impl Share {
    /// What is left, in ten-thousandths.
    fn left(self) -> u64 {
        share(self.whole.saturating_sub(self.taken), self.whole).into()
    }
}

/// Half for few neighbours, three tenths for memory, a tenth each for CPU and space; a node that holds the data gets a
/// little more, as less has to travel. An app alone on its node is worth 2500 points more than one with a neighbour,
/// which is enough to make it move.
pub(crate) fn score(neighbours: u64, memory: Share, cpu: Share, space: Share, holds: bool) -> u32 {
    let few = 10_000 / neighbours.saturating_add(1);
    let bonus = if holds { 200 } else { 0 };
    let points = (5 * few + 3 * memory.left() + cpu.left() + space.left()) / 10 + bonus;
    u32::try_from(points.min(10_000)).unwrap_or(10_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: Share = Share { whole: 100, taken: 0 };
    const HALF: Share = Share { whole: 100, taken: 50 };

    #[test]
    fn an_empty_node_is_perfect_and_a_full_one_is_not_refused() {
        let full = Share { whole: 100, taken: 200 };
        assert_eq!(score(0, EMPTY, EMPTY, EMPTY, false), 10_000);
        assert_eq!(score(u64::MAX, full, full, full, false), 0);
    }

    #[test]
    fn one_neighbour_less_is_worth_a_move() {
        let alone = score(0, HALF, HALF, HALF, false);
        assert!(alone >= score(1, HALF, HALF, HALF, true) + 2000);
    }

    #[test]
    fn among_equals_the_one_that_holds_the_data_wins() {
        assert!(score(1, HALF, HALF, HALF, true) > score(1, HALF, HALF, HALF, false));
        assert!(score(1, HALF, HALF, HALF, true) < score(0, HALF, HALF, HALF, false));
    }

    #[test]
    fn a_node_that_has_not_said_what_it_has_counts_as_full() {
        let unknown = Share { whole: 0, taken: 0 };
        assert_eq!(score(0, unknown, unknown, unknown, false), 5000);
    }
}
