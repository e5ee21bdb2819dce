//! Stops asking a plugin that keeps failing, and tries it again later. Knows no clock: time is an argument.

use std::{collections::VecDeque, time::Duration};

use flocker_model::Timestamp;

/// So many failures within [`WINDOW`] open the breaker. Fewer could be bad luck with one strange question.
const FAILURES_MAX: usize = 5;
/// How long a failure counts.
const WINDOW: Duration = Duration::from_secs(30);
/// How long the breaker stays open before the first probe.
const PAUSE_FIRST: Duration = Duration::from_secs(30);
/// The pause doubles with each failed probe, up to this.
const PAUSE_MAX: Duration = Duration::from_mins(10);

/// What to do with a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Ask.
    Ask,
    /// Ask, but do not act on the answer.
    Probe,
    /// Do not ask before this time.
    Refuse { until: Timestamp },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    Open { until: Timestamp, pause: Duration },
}

/// ```text
/// closed --5 failures in 30 s--> open --pause is over: probe--> closed
///                                 ^        |
///                                 +--fails-+  (the pause doubles)
/// ```
#[derive(Debug)]
pub(crate) struct Breaker {
    state: State,
    failures: VecDeque<Timestamp>,
}

impl Breaker {
    pub(crate) fn new() -> Self {
        Self { state: State::Closed, failures: VecDeque::new() }
    }

    /// Whether a question may be asked now.
    pub(crate) fn admit(&self, now: Timestamp) -> Admission {
        match self.state {
            State::Closed => Admission::Ask,
            State::Open { until, .. } if now < until => Admission::Refuse { until },
            State::Open { .. } => Admission::Probe,
        }
    }

    /// It answered as it should.
    pub(crate) fn answered(&mut self) {
        self.state = State::Closed;
    }

    /// It failed.
    pub(crate) fn failed(&mut self, now: Timestamp) {
        match self.state {
            State::Closed => {
                self.failures.retain(|at| now.since(*at) < WINDOW);
                self.failures.push_back(now);
                if self.failures.len() >= FAILURES_MAX {
                    self.failures.clear();
                    self.state = State::Open { until: now + PAUSE_FIRST, pause: PAUSE_FIRST };
                }
            }
            State::Open { pause, .. } => {
                let pause = (pause * 2).min(PAUSE_MAX);
                self.state = State::Open { until: now + pause, pause };
            }
        }
    }

    /// Until when it is not asked, if it is open.
    pub(crate) fn open_until(&self) -> Option<Timestamp> {
        match self.state {
            State::Closed => None,
            State::Open { until, .. } => Some(until),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp(seconds * 1000)
    }

    #[test]
    fn five_failures_in_half_a_minute_open_it_and_a_good_probe_closes_it() {
        let mut breaker = Breaker::new();
        for second in 0..4 {
            breaker.failed(at(second));
            assert_eq!(breaker.admit(at(second)), Admission::Ask);
        }

        breaker.failed(at(4));

        assert_eq!(breaker.admit(at(5)), Admission::Refuse { until: at(34) });
        assert_eq!(breaker.admit(at(34)), Admission::Probe);
        breaker.answered();
        assert_eq!(breaker.admit(at(34)), Admission::Ask);
    }

    #[test]
    fn failures_that_are_far_apart_do_not_open_it() {
        let mut breaker = Breaker::new();
        for n in 0..100 {
            breaker.failed(at(n * 10));
        }
        assert_eq!(breaker.open_until(), None);
    }

    #[test]
    fn each_failed_probe_doubles_the_pause_up_to_a_limit() {
        let mut breaker = Breaker::new();
        for _ in 0..5 {
            breaker.failed(at(0));
        }
        let mut pauses = Vec::new();
        for _ in 0..6 {
            let now = breaker.open_until().unwrap();
            breaker.failed(now);
            pauses.push(breaker.open_until().unwrap().since(now).as_secs());
        }
        assert_eq!(pauses, [60, 120, 240, 480, 600, 600]);
    }
}
