//! Sizes, spans and moments as people write them in a scenario.

use std::time::{Duration, SystemTime};

use flocker_model::{ByteSize, Timestamp};
use serde::Deserialize;

/// What TOML and JSON have for them all.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a whole number, or a text with a unit")]
enum Raw {
    Number(u64),
    Text(String),
}

/// A size: a number of bytes, or a text such as `16GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Raw")]
pub(super) struct Bytes(pub(super) ByteSize);

impl TryFrom<Raw> for Bytes {
    type Error = String;
    fn try_from(raw: Raw) -> Result<Self, String> {
        match raw {
            Raw::Number(bytes) => Ok(Self(ByteSize(bytes))),
            Raw::Text(text) => text.parse().map(Self).map_err(|e| format!("{e}")),
        }
    }
}

/// A span: a number of milliseconds, or a text such as `30s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Raw")]
pub(super) struct Span(pub(super) Duration);

impl TryFrom<Raw> for Span {
    type Error = String;
    fn try_from(raw: Raw) -> Result<Self, String> {
        match raw {
            Raw::Number(millis) => Ok(Self(Duration::from_millis(millis))),
            Raw::Text(text) => span(&text).map(Self),
        }
    }
}

fn span(text: &str) -> Result<Duration, String> {
    let refuse = |_| format!("`{text}` is not a span such as `30s` or `1h 30m`");
    humantime::parse_duration(text).map_err(refuse)
}

/// A moment: milliseconds since 1970, a text such as `2026-01-31T12:00:00Z`, or one beside the time of the question:
/// `now`, `30s ago`, `in 5m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Raw")]
pub(super) enum Moment {
    At(Timestamp),
    Ago(Duration),
    In(Duration),
}

impl Moment {
    /// The moment, given the time of the question.
    pub(super) fn seen_from(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Ago(span) => Timestamp(now.0.saturating_sub(millis(span))),
            Self::In(span) => Timestamp(now.0.saturating_add(millis(span))),
        }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

impl TryFrom<Raw> for Moment {
    type Error = String;
    fn try_from(raw: Raw) -> Result<Self, String> {
        let text = match raw {
            Raw::Number(millis) => return Ok(Self::At(Timestamp(millis))),
            Raw::Text(text) => text,
        };
        let text = text.trim();
        if text == "now" {
            Ok(Self::Ago(Duration::ZERO))
        } else if let Some(ago) = text.strip_suffix(" ago") {
            span(ago).map(Self::Ago)
        } else if let Some(ahead) = text.strip_prefix("in ") {
            span(ahead).map(Self::In)
        } else {
            date(text).map(Self::At).ok_or_else(|| {
                format!("`{text}` is not a moment such as `now`, `30s ago`, `in 5m` or `2026-01-31T12:00:00Z`")
            })
        }
    }
}

fn date(text: &str) -> Option<Timestamp> {
    let at = humantime::parse_rfc3339_weak(text).ok()?;
    let since = at.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(Timestamp(millis(since)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_they_are_said() {
        let now = Timestamp(100_000);
        for (text, at) in [
            ("12", 12),
            ("\"now\"", 100_000),
            ("\"30s ago\"", 70_000),
            ("\"in 1m\"", 160_000),
            ("\"1970-01-01T00:00:07Z\"", 7_000),
        ] {
            let moment: Moment = serde_json::from_str(text).unwrap();
            assert_eq!(moment.seen_from(now), Timestamp(at), "{text}");
        }
        for text in ["\"yesterday\"", "\"30s\"", "-5", "true"] {
            assert!(serde_json::from_str::<Moment>(text).is_err(), "{text}");
        }
    }
}
