//! What a policy says about a node.

/// The best score.
pub const SCORE_MAX: u32 = 10_000;

/// How good a node would be, or that it must not be taken. The scale is absolute and shared by all policies: an app is
/// moved by itself only if another node is better by 2000 points.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Score {
    points: Option<u32>,
    code: u32,
    reason: Option<String>,
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
        let points = u128::from(part) * u128::from(SCORE_MAX) / u128::from(whole.max(1));
        Self::good(u32::try_from(points).unwrap_or(SCORE_MAX))
    }

    /// The node must not be taken, and this is why. One policy's refusal is final.
    #[must_use]
    pub fn refuse(why: impl Into<String>) -> Self {
        Self { points: None, code: 0, reason: Some(why.into()) }
    }

    /// Says why; `flocker explain` shows it.
    #[must_use]
    pub fn because(self, why: impl Into<String>) -> Self {
        Self { reason: Some(why.into()), ..self }
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
        self.reason.map(|text| (code, text))
    }
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
    }
}
