//! What an operator may set.

use std::time::Duration;

use serde::Deserialize;

/// The same for the host and for people.
pub(crate) const SCHEMA: &str = include_str!("settings.json");

/// How patient to be, and how much may be lost.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    wait_seconds: u32,
    max_lag_seconds: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { wait_seconds: 30, max_lag_seconds: 60 }
    }
}

impl Settings {
    /// How long a node may be silent before anything is done about it.
    pub(crate) fn wait(&self) -> Duration {
        Duration::from_secs(self.wait_seconds.into())
    }

    /// How much time before the silence may be missing from a replica.
    pub(crate) fn max_lag(&self) -> Duration {
        Duration::from_secs(self.max_lag_seconds.into())
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
