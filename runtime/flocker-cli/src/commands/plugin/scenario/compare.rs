//! Expectations against answers, as texts that stand below each other.

use flocker_planner::PolicyFailure;

use super::Mismatch;

/// What was compared so far.
#[derive(Debug, Default)]
pub(super) struct Compared {
    n_compared: usize,
    mismatches: Vec<Mismatch>,
}

impl Compared {
    /// Compares one thing.
    pub(super) fn same(&mut self, what: &str, expected: String, got: String) {
        self.holds(what, expected == got, expected, got);
    }

    /// Notes a comparison that was made elsewhere.
    pub(super) fn holds(&mut self, what: &str, holds: bool, expected: String, got: String) {
        self.n_compared += 1;
        if !holds {
            self.mismatches.push(Mismatch { what: what.to_owned(), expected, got });
        }
    }

    /// Compares whether the policy failed. Whether there is an answer that is worth looking at.
    pub(super) fn failure(
        &mut self,
        expected: Option<&String>,
        failed: Option<&PolicyFailure>,
    ) -> bool {
        if expected.is_some() || failed.is_some() {
            let holds = expected == failed.map(|f| &f.class);
            let none = || "none".to_owned();
            let got = failed.map_or_else(none, |f| format!("{} ({})", f.class, f.message));
            self.holds("failure", holds, expected.cloned().unwrap_or_else(none), got);
        }
        failed.is_none()
    }

    /// What is not as expected.
    ///
    /// # Errors
    /// When nothing was compared: such a scenario could only pass.
    pub(super) fn mismatches(self) -> Result<Vec<Mismatch>, String> {
        if self.n_compared == 0 {
            return Err("`expect` says nothing".into());
        }
        Ok(self.mismatches)
    }
}

/// Several things in one text.
pub(super) fn listed(items: impl IntoIterator<Item = String>) -> String {
    let items: Vec<_> = items.into_iter().collect();
    if items.is_empty() { "none".to_owned() } else { items.join(", ") }
}
