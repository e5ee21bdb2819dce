//! How operations look, and the report of a move.

use std::time::Duration;

use flocker_model::{MoveReport, Operation, OperationKind, OperationState, Timestamp};
use serde_json::{Value, json};

use super::{moment, ms, span, table};

/// What it does, in a few words: `move shop from n1 to n2`.
pub(crate) fn what(operation: &Operation) -> String {
    let app = &operation.app;
    match &operation.kind {
        OperationKind::Deploy { target, .. } => format!("deploy {app} on {target}"),
        OperationKind::Update { node, manifest: _ } => format!("update {app} on {node}"),
        OperationKind::Move { source, target, epoch: _ } => {
            format!("move {app} from {source} to {target}")
        }
        OperationKind::Remove { node: _, volumes: false } => format!("remove {app}"),
        OperationKind::Remove { node: _, volumes: true } => format!("remove {app} and its volumes"),
    }
}

fn kind(kind: &OperationKind) -> &'static str {
    match kind {
        OperationKind::Deploy { .. } => "deploy",
        OperationKind::Update { .. } => "update",
        OperationKind::Move { .. } => "move",
        OperationKind::Remove { .. } => "remove",
    }
}

/// The word for its state, and why it is so.
fn state(operation: &Operation) -> (&'static str, Option<&str>) {
    match &operation.state {
        OperationState::Running if operation.undoing.is_some() => {
            ("going back", operation.undoing.as_deref())
        }
        OperationState::Running => ("running", None),
        OperationState::Waiting { reason } => ("waiting", Some(reason)),
        OperationState::Done => ("done", None),
        OperationState::Aborted { reason } => ("aborted", Some(reason)),
        OperationState::Failed { reason } => ("failed", Some(reason)),
    }
}

/// How long it took, or takes so far by the cluster's clock.
fn took(operation: &Operation, now: Option<Timestamp>) -> Option<Duration> {
    operation.finished.or(now).map(|end| end.since(operation.started))
}

pub(crate) fn operation_json(operation: &Operation) -> Value {
    let (source, target) = match &operation.kind {
        OperationKind::Deploy { target, .. } => (None, Some(target)),
        OperationKind::Update { node, manifest: _ } => (Some(node), Some(node)),
        OperationKind::Move { source, target, epoch: _ } => (Some(source), Some(target)),
        OperationKind::Remove { node, volumes: _ } => (node.as_ref(), None),
    };
    let report = &operation.report;
    let phases = report.phases.iter().map(|phase| {
        json!({
            "phase": phase.phase.as_str(),
            "ms": ms(phase.took),
            "undo": phase.undo,
            "trouble": phase.trouble,
        })
    });
    let rounds = report.rounds.iter().map(|round| {
        json!({
            "snapshot": round.tag.as_str(),
            "bytes": round.transfer.bytes.0,
            "resumed": round.transfer.resumed.0,
            "ms": ms(round.transfer.took),
        })
    });
    let (state, reason) = state(operation);
    json!({
        "id": operation.id.as_str(),
        "app": operation.app.as_str(),
        "kind": kind(&operation.kind),
        "source": source.map(|node| node.as_str()),
        "target": target.map(|node| node.as_str()),
        "purpose": operation.purpose.to_string(),
        "state": state,
        "reason": reason,
        "phase": operation.phase.as_str(),
        "trouble": operation.trouble,
        "started_ms": operation.started.0,
        "finished_ms": operation.finished.map(|at| at.0),
        "parked_ms": operation.parked.map(|at| at.0),
        "phases": phases.collect::<Vec<_>>(),
        "rounds": rounds.collect::<Vec<_>>(),
        "bytes": report.bytes().0,
        "blackout_ms": report.blackout.map(ms),
    })
}

pub(crate) fn operations_table(operations: &[Operation]) -> String {
    let header = ["OPERATION", "WHAT", "WHY", "STATE", "PHASE", "STARTED", "TOOK"];
    table(
        header,
        operations.iter().map(|operation| {
            [
                operation.id.to_string(),
                what(operation),
                operation.purpose.to_string(),
                state(operation).0.to_owned(),
                operation.phase.to_string(),
                moment(operation.started),
                took(operation, None).map_or_else(|| "-".to_owned(), span),
            ]
        }),
    )
}

/// Everything about one operation; at the end, one line that sums it up.
pub(crate) fn operation_text(operation: &Operation) -> String {
    let mut text = format!("operation {} (why: {})\n", operation.id, operation.purpose);
    if !operation.report.phases.is_empty() {
        text += "\n";
        text += &phases_table(&operation.report);
    }
    if !operation.report.rounds.is_empty() {
        text += "\n";
        text += &rounds_table(&operation.report);
    }
    if let Some(trouble) = &operation.trouble {
        text += &format!("\ntrouble: {trouble}\n");
    }
    text + "\n" + &summary(operation) + "\n"
}

fn phases_table(report: &MoveReport) -> String {
    table(
        ["PHASE", "TIME", ""],
        report.phases.iter().map(|phase| {
            let name =
                if phase.undo { format!("undo {}", phase.phase) } else { phase.phase.to_string() };
            // The whole of it, with its hint, stands at the end.
            let trouble = phase.trouble.as_deref().and_then(|t| t.lines().next());
            [name, span(phase.took), trouble.unwrap_or_default().to_owned()]
        }),
    )
}

fn rounds_table(report: &MoveReport) -> String {
    table(
        ["ROUND", "SNAPSHOT", "BYTES", "RESUMED", "TIME"],
        report.rounds.iter().enumerate().map(|(round_idx, round)| {
            [
                (round_idx + 1).to_string(),
                round.tag.to_string(),
                round.transfer.bytes.to_string(),
                round.transfer.resumed.to_string(),
                span(round.transfer.took),
            ]
        }),
    )
}

fn summary(operation: &Operation) -> String {
    let (state, reason) = state(operation);
    let mut text = format!("{}: {state}", what(operation));
    if let Some(took) = took(operation, None) {
        text += &format!(" in {}", span(took));
    }
    let report = &operation.report;
    if !report.rounds.is_empty() {
        let n = report.rounds.len();
        text += &format!(", {} in {n} round{}", report.bytes(), if n == 1 { "" } else { "s" });
    }
    if let Some(blackout) = report.blackout {
        text += &format!(", blackout {}", span(blackout));
    }
    match reason.and_then(|reason| reason.lines().next()) {
        // What can be done about it is said where the operation was begun.
        Some(reason) => format!("{text}: {reason}"),
        None => text,
    }
}
