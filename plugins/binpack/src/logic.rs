//! How well an app fills a node up, from plain numbers.

/// Something that is used up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Demand {
    /// All of it.
    pub(crate) whole: u64,
    /// What other apps were promised.
    pub(crate) taken: u64,
    /// What this app needs.
    pub(crate) need: u64,
}

impl Demand {
    fn fits(self) -> bool {
        self.need == 0 || self.taken.saturating_add(self.need) <= self.whole
    }

    /// What will be taken, in ten-thousandths.
    fn filled(self) -> u64 {
        let taken = u128::from(self.taken.saturating_add(self.need).min(self.whole));
        u64::try_from(taken * 10_000 / u128::from(self.whole.max(1))).unwrap_or(10_000)
    }
}

/// Whether an app fits, and how well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fit {
    Fits(u32),
    TooLittleMemory,
    TooLittleCpu,
}

/// Half for many neighbours, as apps often name no limits; the other half for what is taken of memory and CPU.
pub(crate) fn fit(neighbours: u64, memory: Demand, cpu: Demand) -> Fit {
    if !memory.fits() {
        return Fit::TooLittleMemory;
    }
    if !cpu.fits() {
        return Fit::TooLittleCpu;
    }
    let many = 10_000 - 10_000 / neighbours.saturating_add(1);
    let points = (2 * many + memory.filled() + cpu.filled()) / 4;
    Fit::Fits(u32::try_from(points).unwrap_or(10_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demand(taken: u64, need: u64) -> Demand {
        Demand { whole: 100, taken, need }
    }

    #[test]
    fn the_fuller_node_is_better_until_it_is_full() {
        let cpu = demand(0, 10);
        let points = |taken| match fit(1, demand(taken, 20), cpu) {
            Fit::Fits(points) => Some(points),
            Fit::TooLittleMemory | Fit::TooLittleCpu => None,
        };
        assert!(points(0) < points(40) && points(40) < points(80));
        assert_eq!(points(81), None);
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(fit(0, demand(90, 20), demand(0, 0)), Fit::TooLittleMemory);
        assert_eq!(fit(0, demand(0, 0), demand(90, 20)), Fit::TooLittleCpu);
    }

    #[test]
    fn an_app_without_limits_goes_where_others_are() {
        let (memory, cpu) = (demand(0, 0), demand(0, 0));
        assert_eq!(fit(0, memory, cpu), Fit::Fits(0));
        assert_eq!(fit(1, memory, cpu), Fit::Fits(2500));
    }
}
