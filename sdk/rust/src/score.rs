//! What a policy says about a node.

use std::{borrow::Cow, cell::Cell, collections::BinaryHeap};

/// The best score.
pub const SCORE_MAX: u32 = 10_000;

/// `part` of `whole` in ten-thousandths, at most all of it: what [`Score::share`] makes a score of. 0 when there is no whole.
#[must_use]
pub fn share(part: u64, whole: u64) -> u32 {
    // Up to here 64 bits are enough; a division of 128 is a long loop in WebAssembly.
    const EXACT: u64 = u64::MAX / SCORE_MAX as u64;
    let (part, max) = (part.min(whole), u64::from(SCORE_MAX));
    let points = if part <= EXACT { part * max / whole.max(1) } else { part / (whole / max) };
    u32::try_from(points).unwrap_or(SCORE_MAX).min(SCORE_MAX)
}

/// How good a node would be, or that it must not be taken. The scale is absolute and shared by all policies: an app is
/// moved by itself only if another node is better by 2000 points.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Score {
    points: Option<u32>,
    code: u32,
    reason: Option<Cow<'static, str>>,
}

thread_local! {
    /// Whether anybody will read the reason of the score that is being made.
    static SHOWN: Cell<bool> = const { Cell::new(true) };
}

impl Score {
    /// From 0 (as bad as it gets, but possible) to 10000 (perfect). More than that counts as 10000.
    #[must_use]
    pub fn good(points: u32) -> Self {
        Self { points: Some(points.min(SCORE_MAX)), code: 0, reason: None }
    }

    /// `part` of `whole` as a score: 3 of 4 is 7500. 0 when there is no whole.
    #[must_use]
    pub fn share(part: u64, whole: u64) -> Self {
        Self::good(share(part, whole))
    }

    /// The node must not be taken, and this is why. One policy's refusal is final.
    #[must_use]
    pub fn refuse(why: impl Into<Cow<'static, str>>) -> Self {
        Self::refusal().because(why)
    }

    /// The same, with a text that is put together only where somebody will read it.
    #[must_use]
    pub fn refuse_with(why: impl FnOnce() -> String) -> Self {
        Self::refusal().because_with(why)
    }

    /// Says why; `flocker explain` shows it.
    #[must_use]
    pub fn because(self, why: impl Into<Cow<'static, str>>) -> Self {
        if SHOWN.get() { Self { reason: Some(why.into()), ..self } } else { self }
    }

    /// The same, with a text that is put together only where somebody will read it: of thousands of nodes, the best ones
    /// and some of the refused ones are shown.
    #[must_use]
    pub fn because_with(self, why: impl FnOnce() -> String) -> Self {
        if SHOWN.get() { self.because(why()) } else { self }
    }

    fn refusal() -> Self {
        Self { points: None, code: 0, reason: None }
    }

    /// Gives the reason a number: one of wit/codes.md, or one of your own from 1000 on.
    #[must_use]
    pub fn code(self, code: u32) -> Self {
        Self { code, ..self }
    }

    /// As the contract writes it: -1 is a refusal.
    #[must_use]
    pub fn points(&self) -> i32 {
        self.points.and_then(|p| i32::try_from(p).ok()).unwrap_or(-1)
    }

    /// Whether the node must not be taken.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        self.points.is_none()
    }

    /// Code and text.
    pub(crate) fn into_reason(self) -> Option<(u32, String)> {
        let code = self.code;
        self.reason.map(|text| (code, text.into_owned()))
    }
}

/// How many of the best candidates say why, and how many of the refused ones. Nobody reads more, and texts cost more than
/// everything else.
const SHOWN_MAX: usize = 32;

/// The scores of so many candidates. Where there are many, reasons are asked for in a second round, of those that are
/// shown: the best, the first ones that are refused, and those that are `special`.
pub(crate) fn each(
    count: usize,
    score: impl Fn(usize) -> Score,
    special: impl Fn(usize) -> bool,
) -> Vec<Score> {
    if count <= SHOWN_MAX {
        return (0..count).map(score).collect();
    }
    SHOWN.set(false);
    let mut scores: Vec<Score> = (0..count).map(&score).collect();
    SHOWN.set(true);
    for shown in worth_showing(&scores, special) {
        scores[shown] = score(shown);
    }
    scores
}

fn worth_showing(scores: &[Score], special: impl Fn(usize) -> bool) -> Vec<usize> {
    let refused = (0..scores.len()).filter(|n| scores[*n].is_refusal()).take(SHOWN_MAX);
    let mut shown: Vec<usize> = refused.chain((0..scores.len()).filter(|n| special(*n))).collect();
    // The worst of the best on top, to make way for a better one; of equals the first ones stay.
    let mut best = BinaryHeap::with_capacity(SHOWN_MAX + 1);
    for (n, points) in scores.iter().enumerate().filter_map(|(n, s)| Some((n, s.points?))) {
        let worst = best.peek().map(|(std::cmp::Reverse(points), _)| *points);
        if best.len() < SHOWN_MAX || worst.is_some_and(|worst| points > worst) {
            best.push((std::cmp::Reverse(points), n));
        }
        if best.len() > SHOWN_MAX {
            best.pop();
        }
    }
    shown.extend(best.into_iter().map(|(_, n)| n));
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_never_out_of_range() {
        assert_eq!(Score::share(3, 4), Score::good(7500));
        assert_eq!(Score::share(5, 4), Score::good(10_000));
        assert_eq!(Score::share(0, 0), Score::good(0));
        assert_eq!(Score::share(u64::MAX, u64::MAX), Score::good(10_000));
        assert_eq!(Score::share(u64::MAX / 4, u64::MAX), Score::good(2500));
    }

    #[test]
    fn of_many_candidates_those_that_matter_say_why() {
        let texts = Cell::new(0);
        let why = || {
            texts.set(texts.get() + 1);
            "why".to_owned()
        };
        let score = |n: usize| match n {
            0..500 => Score::refuse_with(why),
            _ => Score::good(u32::try_from(n).unwrap()).because_with(why),
        };

        let scores = each(1000, score, |n| n == 700);

        let shown = |n: &usize| scores[*n].reason.is_some();
        let shown: Vec<_> = (0..1000).filter(shown).collect();
        let wanted: Vec<_> = (0..32).chain([700]).chain(968..1000).collect();
        assert_eq!((shown, texts.get()), (wanted, 65));
        assert_eq!((scores[499].points(), scores[500].points()), (-1, 500));
        assert!(each(32, score, |_| false).iter().all(|s| s.reason.is_some()));
    }
}
