//! Whether and when a container that ended is started again: Compose's `restart`, decided by the agent.

use std::time::Duration;

use flocker_model::Restart;

/// The first restart comes after this pause, each further one after twice the pause before it.
pub const PAUSE_FIRST: Duration = Duration::from_millis(100);

/// The longest pause: Docker's own.
pub const PAUSE_MAX: Duration = Duration::from_secs(60);

/// A container that ran so long counts as having started well: the pause begins anew. Docker's own figure.
pub const GOOD_RUN: Duration = Duration::from_secs(10);

/// After which pause a container that ended with `status` is started again; `None`: it is not.
/// `restarts` counts the restarts in a row, short runs only.
#[must_use]
pub fn restart_after(policy: Restart, status: i64, restarts: u32) -> Option<Duration> {
    let pause = PAUSE_FIRST.saturating_mul(2u32.saturating_pow(restarts.min(20))).min(PAUSE_MAX);
    match policy {
        Restart::No => None,
        Restart::Always | Restart::UnlessStopped => Some(pause),
        Restart::OnFailure { .. } if status == 0 => None,
        Restart::OnFailure { retries_max: Some(most) } if restarts >= most => None,
        Restart::OnFailure { .. } => Some(pause),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_that_keeps_failing_is_started_ever_later_but_never_given_up() {
        let pauses: Vec<_> =
            (0..12).map(|n| restart_after(Restart::Always, 1, n).unwrap().as_millis()).collect();
        assert_eq!(
            pauses,
            [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000]
        );
    }

    #[test]
    fn on_failure_counts_and_leaves_success_alone() {
        let policy = Restart::OnFailure { retries_max: Some(2) };
        assert!(restart_after(policy, 1, 1).is_some());
        assert_eq!(restart_after(policy, 1, 2), None);
        assert_eq!(restart_after(policy, 0, 0), None);
        assert_eq!(restart_after(Restart::No, 1, 0), None);
    }
}
