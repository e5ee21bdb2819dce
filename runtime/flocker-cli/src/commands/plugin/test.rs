//! `flocker plugin test`: asks a plugin what scenario files ask, and compares.

use std::path::{Path, PathBuf};

use flocker_api::{Code, Failure};
use flocker_plugins::OwnLimits;
use serde_json::{Value, json};

use super::{
    host, listen, load, read,
    scenario::{Mismatch, Outcome, Scenario},
};
use crate::terminal::Answer;

pub(super) fn test(
    file: &Path,
    scenarios: &[PathBuf],
    limits: OwnLimits,
    is_told_as_backend: bool,
) -> Result<Answer, Failure> {
    let invalid =
        |words: &str| Failure::new(Code::INVALID_ARGUMENT, format!("`{}` {words}", file.display()));
    if is_told_as_backend {
        return Err(invalid("is no storage backend, so it is granted nothing").hint(
            "leave `--grant` and `--settings` out; a policy's settings are in its scenarios",
        ));
    }
    if scenarios.is_empty() {
        return Err(invalid(
            "is no storage backend, so there is nothing to test without scenarios",
        )
        .hint("`flocker plugin test --help` shows a scenario"));
    }
    listen();
    // All are read first: a mistake in the last one is seen before the first one is asked.
    let scenarios = scenarios.iter().map(|path| Ok((path, parsed(path)?)));
    let scenarios = scenarios.collect::<Result<Vec<_>, Failure>>()?;
    let (mut json, mut text, mut n_asked, mut n_failed) = (Vec::new(), String::new(), 0, 0);
    for (path, scenario) in scenarios {
        // A host of its own: each may have other settings.
        let host = host()?;
        let loaded = load(&host, file, scenario.settings(), limits)?;
        let outcomes = scenario.ask(&host, &loaded.hooks).map_err(|e| wrong(path, &e))?;
        for outcome in &outcomes {
            n_asked += 1;
            n_failed += usize::from(!outcome.mismatches.is_empty());
            text += &shown(path, outcome);
        }
        let outcomes: Vec<_> = outcomes.iter().map(outcome_json).collect();
        json.push(json!({"scenario": path.display().to_string(), "questions": outcomes}));
    }
    text += &format!("{n_asked} asked, {n_failed} not answered as expected\n");
    let json = json!({"asked": n_asked, "failed": n_failed, "scenarios": json});
    let failure = (n_failed > 0).then(|| {
        let message = format!("{n_failed} of {n_asked} answers are not what was expected");
        Failure::new(Code::INVALID_ARGUMENT, message)
    });
    Ok(Answer { failure, ..Answer::new(json, text) })
}

fn parsed(path: &Path) -> Result<Scenario, Failure> {
    let is_json = path.extension().is_some_and(|e| e == "json");
    Scenario::parse(&read(path)?, is_json).map_err(|e| wrong(path, &e))
}

fn wrong(path: &Path, error: &str) -> Failure {
    let message = format!("scenario `{}`: {error}", path.display());
    Failure::new(Code::INVALID_ARGUMENT, message)
        .hint("`flocker plugin test --help` shows a scenario; sdk/scenarios.md describes them")
}

fn shown(path: &Path, outcome: &Outcome) -> String {
    let Outcome { title, mismatches, said } = outcome;
    let verdict = if mismatches.is_empty() { "ok    " } else { "FAILED" };
    let mut text = format!("{verdict}  {}: {title}\n", path.display());
    for remark in &said.remarks {
        text += &format!("  {remark}\n");
    }
    for Mismatch { what, expected, got } in mismatches {
        text += &format!("  {what}\n    expected  {expected}\n    got       {got}\n");
    }
    if !mismatches.is_empty() {
        text += "  the answer\n";
        for line in said.text.lines() {
            text += &format!("    {line}\n");
        }
    }
    text
}

fn outcome_json(outcome: &Outcome) -> Value {
    let mismatch = |m: &Mismatch| json!({"what": m.what, "expected": m.expected, "got": m.got});
    json!({
        "question": outcome.title,
        "ok": outcome.mismatches.is_empty(),
        "mismatches": outcome.mismatches.iter().map(mismatch).collect::<Vec<_>>(),
        "remarks": outcome.said.remarks,
        "answer": outcome.said.whole,
    })
}
