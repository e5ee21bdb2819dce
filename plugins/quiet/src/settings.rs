//! What an operator may set.

use std::time::Duration;

use serde::Deserialize;

/// The same for the host and for people.
pub(crate) const SCHEMA: &str = include_str!("settings.json");

/// How long to wait for a pause, and how many snapshots to keep.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    quiet_seconds: u32,
    latest_seconds: u32,
    keep: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { quiet_seconds: 3, latest_seconds: 15, keep: 10 }
    }
}

impl Settings {
    /// A pause between writes.
    pub(crate) fn quiet(&self) -> Duration {
        Duration::from_secs(self.quiet_seconds.into())
    }

    /// How long writes without a pause go on before a snapshot is taken all the same.
    pub(crate) fn latest(&self) -> Duration {
        Duration::from_secs(self.latest_seconds.into())
    }

    /// How many snapshots are kept; the newest always.
    pub(crate) fn keep(&self) -> usize {
        self.keep.max(1) as usize
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
