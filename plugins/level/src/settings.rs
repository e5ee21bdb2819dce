//! What an operator may set.

use serde::Deserialize;

/// The same for the host and for people.
pub(crate) const SCHEMA: &str = include_str!("settings.json");

/// What is levelled, and how much a move has to bring.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) what: What,
    margin_percent: u32,
}

/// What nodes should have equal shares of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum What {
    /// Memory that apps were promised.
    Memory,
    /// CPU that apps were promised.
    Cpu,
    /// The number of apps.
    Apps,
}

impl Default for Settings {
    fn default() -> Self {
        Self { what: What::Memory, margin_percent: 10 }
    }
}

impl Settings {
    /// How much emptier the target has to be, with the app, than the source was, as a share.
    pub(crate) fn margin(&self) -> f64 {
        // Without any, apps that change nothing would wander for ever.
        f64::from(self.margin_percent.max(1)) / 100.0
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
