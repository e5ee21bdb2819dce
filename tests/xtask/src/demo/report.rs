//! What is printed at the end: the moves, the totals, and the same as JSON.

use std::{path::PathBuf, time::Duration};

use serde_json::{Value, json};

use super::{
    client::{Seen, Verdict},
    flocker::Operation,
};
use crate::say;

/// One move, as the cluster and as the client saw it.
#[derive(Debug)]
pub(super) struct Move {
    pub(super) why: String,
    /// The node that the client wrote through.
    pub(super) door: String,
    pub(super) operation: Operation,
    /// The longest time between two acknowledgements.
    pub(super) blackout: Duration,
}

/// All of it.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) moves: Vec<Move>,
    pub(super) seen: Seen,
    pub(super) verdict: Verdict,
    pub(super) policy_decisions: u64,
    /// How to start the `flocker` command for this cluster.
    pub(super) flocker: String,
    pub(super) work: PathBuf,
}

impl Report {
    /// Whether nothing was lost, doubled or refused.
    pub(super) fn holds(&self) -> bool {
        let Verdict { lost, doubled, foreign, survived: _ } = self.verdict;
        lost == 0 && doubled == 0 && foreign == 0 && self.seen.refused == 0
    }

    /// The table and the totals, for people; and how it can be looked at longer, if it `may_stay`.
    pub(super) fn print(&self, may_stay: bool) {
        say::part("moves");
        for (idx, one) in self.moves.iter().enumerate() {
            let Move { why, door, operation, blackout } = one;
            say::line(&format!(
                "{}. {} -> {}  why: {why} ({})",
                idx + 1,
                operation.source,
                operation.target,
                operation.purpose
            ));
            say::line(&format!(
                "   blackout {} at the client through {door}, {} by the leader's clock; {} in {} rounds",
                shown(*blackout),
                operation.blackout_ms.map_or_else(|| "?".into(), |ms| format!("{ms} ms")),
                bytes(operation.bytes),
                operation.rounds,
            ));
            let phases: Vec<String> =
                operation.phases.iter().map(|(phase, ms)| format!("{phase} {ms}")).collect();
            say::line(&format!("   phases in ms: {}", phases.join(", ")));
        }
        self.print_totals(may_stay);
    }

    fn print_totals(&self, may_stay: bool) {
        let (seen, verdict) = (&self.seen, &self.verdict);
        say::part("totals");
        let reconnects = seen.reconnects.saturating_sub(1);
        for (name, value) in [
            ("acknowledged", seen.acked.len().to_string()),
            ("lost", verdict.lost.to_string()),
            ("doubled", verdict.doubled.to_string()),
            ("never sent, but there", verdict.foreign.to_string()),
            (
                "answer never came",
                format!("{} ({} of them are there)", seen.unknown.len(), verdict.survived),
            ),
            ("connections refused", seen.refused.to_string()),
            ("connections reset", seen.resets.to_string()),
            ("connections ended", seen.ends.to_string()),
            ("reconnects", reconnects.to_string()),
            ("blackout p50, max", format!("{}, {}", shown(self.p50()), shown(self.max()))),
            ("policy decisions", self.policy_decisions.to_string()),
        ] {
            say::line(&format!("{name:<24} {value}"));
        }
        say::part("where to look next");
        say::line("tests/demo/shop.yaml       the app");
        say::line(
            "plugins/                   the policy that placed it; README.md says how to write one",
        );
        say::line(
            "runtime/flocker-planner    what decided, and runtime/flocker-engine, what did it",
        );
        if !may_stay {
            return;
        }
        say::line(&format!(
            "cargo xtask demo --keep    leaves the cluster in {}, and then:",
            self.work.display()
        ));
        say::line(&format!("  {} status", self.flocker));
    }

    /// The same for programs.
    pub(super) fn json(&self, took: Duration) -> Value {
        json!({
            "moves": self.moves.len(),
            "acked": self.seen.acked.len(),
            "lost": self.verdict.lost,
            "refused": self.seen.refused,
            "blackout_ms": {"p50": millis(self.p50()), "max": millis(self.max())},
            "policy_decisions": self.policy_decisions,
            "seconds": (took.as_secs_f64() * 10.0).round() / 10.0,
        })
    }

    fn p50(&self) -> Duration {
        let mut all: Vec<Duration> = self.moves.iter().map(|one| one.blackout).collect();
        all.sort_unstable();
        all.get(all.len() / 2).copied().unwrap_or_default()
    }

    fn max(&self) -> Duration {
        self.moves.iter().map(|one| one.blackout).max().unwrap_or_default()
    }
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 10_000.0).round() / 10.0
}

fn shown(time: Duration) -> String {
    format!("{} ms", millis(time))
}

fn bytes(count: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let unit = units.into_iter().find(|(size, _)| count >= *size);
    unit.map_or_else(
        || format!("{count} B"),
        |(size, name)| format!("{}.{} {name}", count / size, count % size * 10 / size),
    )
}
