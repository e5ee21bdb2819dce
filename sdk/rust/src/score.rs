//! What a policy says about a node.

use std::{borrow::Cow, cell::Cell, cmp::Reverse, collections::BinaryHeap};

use crate::{Node, Request};

/// The best score.
pub const SCORE_MAX: u32 = 10_000;

/// `part` of `whole` in ten-thousandths, at most all of it: what [`Score::share`] makes a score of. 0 when there is no whole.
#[must_use]
#[inline]
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
    /// As the contract writes it: -1 is a refusal.
    points: i32,
    code: u32,
    /// In a box: few scores have one, and all of them pass through the loop over the nodes.
    reason: Option<Box<Cow<'static, str>>>,
}

thread_local! {
    /// Whether anybody will read the reason of the score that is being made.
    static SHOWN: Cell<bool> = const { Cell::new(true) };
    /// Whether a reason was left out, as nobody would have read it.
    static LEFT_OUT: Cell<bool> = const { Cell::new(false) };
}

/// Whether the reason of the score that is being made is wanted. That there is one is noted down where it is not.
#[inline]
fn is_shown() -> bool {
    let shown = SHOWN.get();
    if !shown {
        LEFT_OUT.set(true);
    }
    shown
}

/// Kept out of the loop over all nodes, as few of them are asked for a reason.
#[cold]
#[inline(never)]
fn told<T: Into<Cow<'static, str>>>(why: impl FnOnce() -> T) -> Box<Cow<'static, str>> {
    Box::new(why().into())
}

impl Score {
    /// From 0 (as bad as it gets, but possible) to 10000 (perfect). More than that counts as 10000.
    #[must_use]
    #[inline]
    pub fn good(points: u32) -> Self {
        Self::of(points.min(SCORE_MAX) as i32)
    }

    /// `part` of `whole` as a score: 3 of 4 is 7500. 0 when there is no whole.
    #[must_use]
    #[inline]
    pub fn share(part: u64, whole: u64) -> Self {
        Self::good(share(part, whole))
    }

    /// The node must not be taken, and this is why. One policy's refusal is final.
    #[must_use]
    #[inline]
    pub fn refuse(why: impl Into<Cow<'static, str>>) -> Self {
        Self::refusal().because(why)
    }

    /// The same, with a text that is put together only where somebody will read it.
    #[must_use]
    #[inline]
    pub fn refuse_with(why: impl FnOnce() -> String) -> Self {
        Self::refusal().because_with(why)
    }

    /// Says why; `flocker explain` shows it.
    #[must_use]
    #[inline]
    pub fn because(self, why: impl Into<Cow<'static, str>>) -> Self {
        self.told(|| why)
    }

    /// The same, with a text that is put together only where somebody will read it: of thousands of nodes, the best ones
    /// and some of the refused ones are shown.
    #[must_use]
    #[inline]
    pub fn because_with(self, why: impl FnOnce() -> String) -> Self {
        self.told(why)
    }

    #[inline]
    fn told<T: Into<Cow<'static, str>>>(self, why: impl FnOnce() -> T) -> Self {
        if is_shown() { Self { reason: Some(told(why)), ..self } } else { self }
    }

    #[inline]
    fn refusal() -> Self {
        Self::of(-1)
    }

    #[inline]
    fn of(points: i32) -> Self {
        Self { points, code: 0, reason: None }
    }

    /// Gives the reason a number: one of wit/codes.md, or one of your own from 1000 on.
    #[must_use]
    pub fn code(self, code: u32) -> Self {
        Self { code, ..self }
    }

    /// As the contract writes it: -1 is a refusal.
    #[must_use]
    #[inline]
    pub fn points(&self) -> i32 {
        self.points
    }

    /// Whether the node must not be taken.
    #[must_use]
    #[inline]
    pub fn is_refusal(&self) -> bool {
        self.points < 0
    }
}

/// How many of the best candidates say why, and how many of the refused ones. Nobody reads more, and texts cost more than
/// everything else.
const SHOWN_MAX: usize = 32;

/// The scores of all candidates, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scores {
    pub(crate) points: Vec<i32>,
    pub(crate) reasons: Vec<Reason>,
}

impl Scores {
    /// Scores each node by itself. Of many nodes, reasons are asked for in a second round, for those that are shown: the
    /// best, the first ones that are refused, and where the app is. A policy that gives no reasons is asked once.
    #[must_use]
    pub fn each<'a>(
        nodes: &[Node<'a>],
        request: &Request,
        score: impl Fn(&Node<'a>) -> Score,
    ) -> Self {
        let many = nodes.len() > SHOWN_MAX;
        SHOWN.set(!many);
        let mut scores = Self::default();
        // In a second round: which ones are asked again.
        let mut shown: Option<(Vec<usize>, Vec<Node>)> = None;
        loop {
            let asked = shown.as_ref().map_or(nodes, |(_, nodes)| nodes);
            let (mut all, mut reasons) = (vec![-1; asked.len()], Vec::new());
            for (position, (node, points)) in asked.iter().zip(&mut all).enumerate() {
                // The only call in here, so that the author's function becomes a part of this loop.
                let score = score(node);
                *points = score.points;
                if score.reason.is_some() {
                    explain(&mut reasons, position, score);
                }
            }
            SHOWN.set(true);
            if let Some((positions, _)) = shown {
                positions.iter().zip(all).for_each(|(n, points)| scores.points[*n] = points);
                let reason = |(n, code, text)| (positions[n], code, text);
                scores.reasons = reasons.into_iter().map(reason).collect();
                return scores;
            }
            scores = Self { points: all, reasons };
            // There is no second round where nobody has anything to say.
            if !LEFT_OUT.replace(false) {
                return scores;
            }
            let positions = worth_showing(&scores.points, |n| request.is_at(&nodes[n]));
            let again = positions.iter().map(|n| nodes[*n]).collect();
            shown = Some((positions, again));
        }
    }

    /// How good each is, -1 for one that is refused.
    #[must_use]
    #[inline]
    pub fn points(&self) -> &[i32] {
        &self.points
    }
}

/// Position, code and text of a score that has a reason.
type Reason = (usize, u32, Cow<'static, str>);

#[cold]
#[inline(never)]
fn explain(reasons: &mut Vec<Reason>, position: usize, score: Score) {
    reasons.extend(score.reason.map(|text| (position, score.code, *text)));
}

impl FromIterator<Score> for Scores {
    fn from_iter<I: IntoIterator<Item = Score>>(all: I) -> Self {
        let mut scores = Self::default();
        for (position, score) in all.into_iter().enumerate() {
            scores.points.push(score.points());
            explain(&mut scores.reasons, position, score);
        }
        scores
    }
}

/// Positions in their order, each once.
#[inline(never)]
fn worth_showing(points: &[i32], special: impl Fn(usize) -> bool) -> Vec<usize> {
    let refused = (0..points.len()).filter(|n| points[*n] < 0).take(SHOWN_MAX);
    let mut shown: Vec<usize> = refused.collect();
    shown.extend((0..points.len()).filter(|n| special(*n)));
    // The worst of the best on top, to make way for a better one; of equals the first ones stay.
    let mut best = BinaryHeap::with_capacity(SHOWN_MAX + 1);
    let mut bar = -1;
    for (n, points) in points.iter().enumerate() {
        if *points > bar {
            best.push((Reverse(*points), n));
            if best.len() > SHOWN_MAX {
                best.pop();
            }
            if best.len() == SHOWN_MAX {
                bar = best.peek().map_or(bar, |(Reverse(worst), _)| *worst);
            }
        }
    }
    shown.extend(best.into_iter().map(|(_, n)| n));
    shown.sort_unstable();
    shown.dedup();
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
        let nodes: Vec<_> = (0..1000).map(|n| Node::sample(&n.to_string())).collect();
        let number = |node: &Node| node.name().parse::<u32>().unwrap();
        let texts = Cell::new(0);
        let why = || {
            texts.set(texts.get() + 1);
            "why".to_owned()
        };
        let score = |node: &Node| match number(node) {
            0..500 => Score::refuse_with(why),
            n => Score::good(n).because_with(why),
        };

        let scores = Scores::each(&nodes, &Request::sample("shop").at(&nodes[700]), score);

        let shown: Vec<_> = scores.reasons.iter().map(|(n, ..)| *n).collect();
        let wanted: Vec<_> = (0..32).chain([700]).chain(968..1000).collect();
        assert_eq!((shown, texts.get()), (wanted, 65));
        assert_eq!(scores.points()[499..=500], [-1, 500]);
        let few = Scores::each(&nodes[..32], &Request::sample("shop"), score);
        assert_eq!(few.reasons.len(), 32);
    }

    #[test]
    fn who_gives_no_reasons_is_asked_once_per_node() {
        let nodes: Vec<_> = (0..1000).map(|n| Node::sample(&n.to_string())).collect();
        let asked = Cell::new(0);
        let score = |_: &Node| {
            asked.set(asked.get() + 1);
            Score::good(asked.get())
        };

        let scores = Scores::each(&nodes, &Request::sample("shop"), score);

        assert_eq!((asked.get(), scores.points()[999], scores.reasons.len()), (1000, 1000, 0));
    }
}
