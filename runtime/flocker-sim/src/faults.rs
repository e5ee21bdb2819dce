//! Where the pretend world fails: every call of a port asks here, by name, what is to become of it.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

/// What is to become of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It works.
    Proceed,
    /// It fails and has no effect.
    FailBefore,
    /// It has its effect, and the caller is told that it failed: the answer was lost.
    FailAfter,
}

/// Decides what fails. Points are named `store.commit`, `backend.seal`, …: the port and its method.
pub trait Faults: Send + Sync + fmt::Debug {
    /// What is to become of the call that is just being made.
    fn at(&self, point: &str) -> Outcome;
}

/// Nothing fails.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFaults;

impl Faults for NoFaults {
    fn at(&self, _: &str) -> Outcome {
        Outcome::Proceed
    }
}

/// Fails what was planned, each once, in the order in which it was planned for a point.
#[derive(Debug, Default)]
pub struct FaultScript(Mutex<Vec<(String, Outcome)>>);

impl FaultScript {
    /// The next call at this point, that none was planned for yet, ends so.
    pub fn plan(&self, point: &str, outcome: Outcome) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((point.to_owned(), outcome));
    }

    /// What was planned and did not happen: a test that expects a fault should find nothing here.
    #[must_use]
    pub fn left(&self) -> Vec<(String, Outcome)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Faults for FaultScript {
    fn at(&self, point: &str) -> Outcome {
        let mut planned = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match planned.iter().position(|(at, _)| at == point) {
            Some(idx) => planned.remove(idx).1,
            None => Outcome::Proceed,
        }
    }
}

/// Makes a call, or fails it as the faults say.
pub(crate) fn strike<T, E>(
    faults: &dyn Faults,
    point: &str,
    failure: impl FnOnce() -> E,
    effect: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    match faults.at(point) {
        Outcome::Proceed => effect(),
        Outcome::FailBefore => Err(failure()),
        Outcome::FailAfter => {
            // Whatever it was: the caller never hears of it.
            drop(effect());
            Err(failure())
        }
    }
}
