//! Grandfather, father, son: a snapshot by the clock, of which fewer are kept the older they are.

mod logic;
mod settings;

use std::time::Duration;

use flocker_sdk::{Backups, Cluster, Copied, Droppable, Due, Policy, Timestamp, Volume};

use crate::{
    logic::{next, superfluous},
    settings::Settings,
};

/// Glue between the SDK and the logic.
#[derive(Debug, Default)]
pub struct Gfs {
    settings: Settings,
}

impl Policy for Gfs {
    const SETTINGS_SCHEMA: &str = settings::SCHEMA;

    fn configure(&mut self, settings: &str) -> Result<(), String> {
        self.settings = flocker_sdk::settings(settings)?;
        Ok(())
    }
}

impl Backups for Gfs {
    fn due(&self, _: &Cluster, volume: &Volume, now: Timestamp, horizon: Duration) -> Vec<Due> {
        let at = next(self.settings.every(), volume.snapshot(), now);
        let soon = at.since(now) <= horizon;
        soon.then(|| Due::snapshot(at, "by the clock")).into_iter().collect()
    }

    fn prune(&self, _: &Volume, _: &str, copies: &[Copied], now: Timestamp) -> Vec<Droppable> {
        let taken: Vec<_> = copies.iter().map(|c| c.taken).collect();
        let droppable = |copy| Droppable {
            copy,
            reason: "newer ones stand for its hour, day, week, month and year".to_owned(),
        };
        superfluous(&self.settings, now, &taken).into_iter().map(droppable).collect()
    }
}

flocker_sdk::export!(Gfs: Backups);
