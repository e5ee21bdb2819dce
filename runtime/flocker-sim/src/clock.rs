//! Pretend time of day: tokio's clock, which tests hold still, counted from a fixed moment.

use flocker_model::Timestamp;
use flocker_ports::Clock;
use tokio::time::Instant;

/// Where pretend time begins: 2026-01-01 00:00 UTC.
pub(crate) const BEGINNING: Timestamp = Timestamp(1_767_225_600_000);

/// The time of day in a pretend world.
#[derive(Debug, Clone, Copy)]
pub struct SimClock(Instant);

impl SimClock {
    /// A clock that begins now.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Now.
    #[must_use]
    pub fn timestamp(&self) -> Timestamp {
        BEGINNING + self.0.elapsed()
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        self.timestamp()
    }
}
