//! What an operator may set.

use std::time::Duration;

use serde::Deserialize;

/// The same for the host and for people.
pub(crate) const SCHEMA: &str = include_str!("settings.json");

/// How often to take a snapshot, and how many of each kind to keep.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) every_minutes: u32,
    pub(crate) all_minutes: u32,
    pub(crate) hourly: u32,
    pub(crate) daily: u32,
    pub(crate) weekly: u32,
    pub(crate) monthly: u32,
    pub(crate) yearly: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            every_minutes: 60,
            all_minutes: 60,
            hourly: 24,
            daily: 7,
            weekly: 4,
            monthly: 12,
            yearly: 0,
        }
    }
}

impl Settings {
    /// Between two snapshots.
    pub(crate) fn every(&self) -> Duration {
        // The schema asks for one minute at least; so does whoever divides by it.
        minutes(self.every_minutes.max(1))
    }

    /// Everything younger than this is kept.
    pub(crate) fn all(&self) -> Duration {
        minutes(self.all_minutes)
    }
}

fn minutes(n: u32) -> Duration {
    Duration::from_secs(60 * u64::from(n))
}

#[cfg(test)]
impl Settings {
    /// Keeps nothing but by the rules that are named afterwards.
    pub(crate) fn none() -> Self {
        Self {
            every_minutes: 60,
            all_minutes: 0,
            hourly: 0,
            daily: 0,
            weekly: 0,
            monthly: 0,
            yearly: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_says_what_happens_without_settings() {
        assert_eq!(flocker_sdk::schema_defaults(SCHEMA), Ok(Settings::default()));
    }
}
