//! What stderr shows while an operation runs: a bar on a terminal, a line for each change of phase elsewhere.

use std::time::{Duration, Instant};

use flocker_model::{ByteSize, Operation, OperationKind, OperationState, Phase, Timestamp};
use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};

use crate::{show, terminal};

/// How an operation is shown while it runs. The bar goes with it, whatever ended it.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    /// What was said last, where there is no terminal: each thing is said once.
    said: String,
    /// When the last news came, by this machine's clock: between news the park goes on counting.
    at: Instant,
}

impl Progress {
    pub(crate) fn new() -> Self {
        let bar = ProgressBar::new(Phase::ALL.len() as u64);
        // The template is a constant; should it ever not parse, the default bar does as well.
        if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} [{bar:26}] {msg}") {
            bar.set_style(style.progress_chars("=> "));
        }
        // What happened is said elsewhere.
        let bar = bar.with_finish(ProgressFinish::AndClear);
        Self { bar, said: String::new(), at: Instant::now() }
    }

    /// There is news.
    pub(crate) fn update(
        &mut self,
        operation: &Operation,
        sending: Option<ByteSize>,
        now: Timestamp,
    ) {
        self.at = Instant::now();
        if self.bar.is_hidden() {
            let line = self.said_line(operation);
            if line != self.said {
                terminal::say(&line);
                self.said = line;
            }
            return;
        }
        self.bar.set_prefix(show::what(operation));
        self.tick(operation, sending, now);
    }

    /// Time passed without news.
    pub(crate) fn tick(&self, operation: &Operation, sending: Option<ByteSize>, now: Timestamp) {
        let position =
            Phase::ALL.iter().position(|phase| *phase == operation.phase).unwrap_or_default();
        // Operations other than a move skip most phases, and going back has no known length: no bar for them.
        let is_straight =
            matches!(operation.kind, OperationKind::Move { .. }) && operation.undoing.is_none();
        self.bar.set_position(if is_straight { position as u64 } else { 0 });
        let message = message(operation, sending, now, self.at.elapsed());
        self.bar.set_message(terminal::visible(&message).into_owned());
        self.bar.tick();
    }

    fn said_line(&self, operation: &Operation) -> String {
        let back = if operation.undoing.is_some() { "going back, " } else { "" };
        let line = format!("{}: {back}{}", show::what(operation), operation.phase);
        match &operation.state {
            OperationState::Waiting { reason } => format!("{line}: waiting: {reason}"),
            OperationState::Running
            | OperationState::Done
            | OperationState::Aborted { .. }
            | OperationState::Failed { .. } => line,
        }
    }
}

/// The phase, what it moves, and for how long clients have been waiting.
fn message(
    operation: &Operation,
    sending: Option<ByteSize>,
    now: Timestamp,
    since: Duration,
) -> String {
    let mut parts = vec![operation.phase.to_string()];
    if let Some(reason) = &operation.undoing {
        parts.push(format!("going back: {reason}"));
    }
    if let OperationState::Waiting { reason } = &operation.state {
        parts.push(format!("waiting: {reason}"));
    }
    if let Some(bytes) = sending {
        parts.push(format!("{bytes} so far"));
    }
    let n_rounds = operation.report.rounds.len();
    if n_rounds > 0 {
        parts.push(format!("{n_rounds} rounds, {}", operation.report.bytes()));
    }
    if let (Some(parked), None) = (operation.parked, operation.report.blackout) {
        parts.push(format!("clients held for {}", show::span((now + since).since(parked))));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use flocker_model::{Epoch, MoveReport, Purpose};

    use super::*;

    #[test]
    fn a_park_is_counted_by_the_clock_of_the_cluster() {
        let operation = Operation {
            id: "o-1".parse().unwrap(),
            app: "shop".parse().unwrap(),
            kind: OperationKind::Move {
                source: "n1".parse().unwrap(),
                target: "n2".parse().unwrap(),
                epoch: Epoch(1),
            },
            purpose: Purpose::Operator,
            state: OperationState::Running,
            phase: Phase::Delta,
            undoing: None,
            trouble: None,
            started: Timestamp(0),
            finished: None,
            parked: Some(Timestamp(5_000)),
            report: MoveReport::default(),
        };

        let message =
            message(&operation, Some(ByteSize(2048)), Timestamp(5_300), Duration::from_millis(200));

        assert_eq!(message, "delta, 2.0 KiB so far, clients held for 500ms");
    }
}
