//! Snapshots in the pauses between writes, so that a replica is never far behind and a volume that rests costs nothing.

mod logic;
mod settings;

use std::time::Duration;

use flocker_sdk::{Backups, Cluster, Copied, Droppable, Due, Policy, Timestamp, Volume};

use crate::settings::Settings;

/// Glue between the SDK and the logic.
#[derive(Debug, Default)]
pub struct Quiet {
    settings: Settings,
}

impl Policy for Quiet {
    const SETTINGS_SCHEMA: &str = settings::SCHEMA;

    fn configure(&mut self, settings: &str) -> Result<(), String> {
        self.settings = flocker_sdk::settings(settings)?;
        Ok(())
    }
}

impl Backups for Quiet {
    fn due(&self, _: &Cluster, volume: &Volume, now: Timestamp, horizon: Duration) -> Vec<Due> {
        let due = logic::due(&self.settings, volume.written(), volume.snapshot(), now);
        let soon = due.filter(|(at, _)| at.since(now) <= horizon);
        soon.map(|(at, label)| Due::snapshot(at, label)).into_iter().collect()
    }

    /// Writes come at any time, so it looks as often as the host allows.
    fn ask_again(&self, _: Duration) -> Duration {
        Duration::ZERO
    }

    fn prune(&self, _: &Volume, _: &str, copies: &[Copied], _: Timestamp) -> Vec<Droppable> {
        let keep = self.settings.keep();
        let reason = || format!("the newest {keep} are kept");
        (0..copies.len().saturating_sub(keep))
            .map(|copy| Droppable { copy, reason: reason() })
            .collect()
    }
}

flocker_sdk::export!(Quiet: Backups);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_few_are_kept() {
        let mut policy = Quiet::default();
        policy.configure(r#"{"keep": 2}"#).unwrap();
        let copies = [1, 2, 3, 4].map(|at| Copied::sample(Timestamp(at)));
        let prune = |copies: &[Copied]| -> Vec<usize> {
            let may_go = policy.prune(&Volume::sample("data"), "snapshot", copies, Timestamp(9));
            may_go.into_iter().map(|d| d.copy).collect()
        };

        assert_eq!(prune(&copies), [0, 1]);
        assert_eq!(prune(&copies[2..]), [0; 0]);
        assert_eq!(prune(&[]), [0; 0]);
    }

    #[test]
    fn what_is_beyond_the_horizon_is_left_for_the_next_time() {
        let cluster = Cluster::sample([], [], [], []);
        let volume = Volume::sample("data")
            .with_snapshot(Timestamp(90_000))
            .with_written(Timestamp(100_000));
        let due = |horizon: u64| {
            let horizon = Duration::from_secs(horizon);
            Quiet::default().due(&cluster, &volume, Timestamp(100_000), horizon)
        };

        assert_eq!(due(2), []);
        assert_eq!(due(3), [Due::snapshot(Timestamp(103_000), "quiet")]);
    }
}
