//! `flocker plugin replay`: old questions, asked again, and what is answered otherwise.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::{Duration, SystemTime},
};

use flocker_api::{Code, Failure};
use flocker_model::Timestamp;
use flocker_plugins::{Configured, Difference, ReplayReport};
use serde_json::{Map, Value, json};

use super::{host, unusable};
use crate::{show, terminal::Answer};

/// Differences that are shown to people; programs get them all.
const SHOWN_MAX: usize = 20;

pub(super) fn replay(
    plugin: &Configured,
    records: &Path,
    since: Option<Duration>,
) -> Result<Answer, Failure> {
    let since = since.map_or(Timestamp(0), |since| {
        let before = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Timestamp(show::ms(before.saturating_sub(since)))
    });
    let report = host()?.replay(plugin, records, since).map_err(unusable)?;
    let failure = (!report.different.is_empty()).then(|| {
        let message = format!("{} of {} answers differ", report.different.len(), report.asked);
        Failure::new(Code::INVALID_ARGUMENT, message)
    });
    Ok(Answer { failure, ..Answer::new(report_json(&report), text(&report)) })
}

fn report_json(report: &ReplayReport) -> Value {
    let difference = |d: &Difference| {
        json!({
            "decision": d.decision,
            "kind": d.kind,
            "at_ms": d.at.0,
            "question": d.question,
            "then": d.then,
            "now": d.now,
        })
    };
    let damaged = report.damaged.iter().map(|path| path.display().to_string());
    json!({
        "asked": report.asked,
        "same": report.same,
        "different": report.different.iter().map(difference).collect::<Vec<_>>(),
        "unanswerable": report.unanswerable.iter().map(difference).collect::<Vec<_>>(),
        "without_settings": report.without_settings,
        "damaged": damaged.collect::<Vec<_>>(),
    })
}

fn text(report: &ReplayReport) -> String {
    let mut text = String::new();
    for difference in report.different.iter().take(SHOWN_MAX) {
        text += &shown(difference);
    }
    let n_all = report.different.len();
    if n_all > SHOWN_MAX {
        text += &format!("and {} more; `--json` has them all\n", n_all - SHOWN_MAX);
    }
    text += &format!(
        "{} asked: {} answered as before, {} otherwise, {} not comparable\n",
        report.asked,
        report.same,
        report.different.len(),
        report.unanswerable.len()
    );
    text += &not_comparable(&report.unanswerable);
    if report.without_settings > 0 {
        text += &format!(
            "of {} was not recorded with what settings they were answered, so they were asked with none\nhint: `--settings` gives others\n",
            report.without_settings
        );
    }
    for path in &report.damaged {
        text += &format!("`{}` is damaged; what stands before that was asked\n", path.display());
    }
    text
}

/// What was said then and is not said now, and the other way round.
fn shown(difference: &Difference) -> String {
    let Difference { decision, kind, at, question, then, now } = difference;
    let by = then["by"].as_str().unwrap_or_default();
    let at = show::moment(*at);
    let mut text = format!("{kind} {decision}, {at}, was answered by {by}\n");
    let (then, now) = (lines(kind, question, &then["verdict"]), lines(kind, question, now));
    let (said, says): (BTreeSet<_>, BTreeSet<_>) = (then.iter().collect(), now.iter().collect());
    // Where only the order is another one, every line is worth looking at.
    let reordered = said == says;
    for line in then.iter().filter(|line| reordered || !says.contains(line)) {
        text += &format!("  then  {line}\n");
    }
    for line in now.iter().filter(|line| reordered || !said.contains(line)) {
        text += &format!("  now   {line}\n");
    }
    text
}

/// Why answers cannot be compared, each reason once.
fn not_comparable(unanswerable: &[Difference]) -> String {
    let mut reasons = BTreeMap::<_, usize>::new();
    for Difference { kind, now, .. } in unanswerable {
        let why = now["message"].as_str().unwrap_or_default();
        *reasons.entry((kind, why)).or_default() += 1;
    }
    let lines = reasons.iter().map(|((kind, why), n)| format!("  {n} of {kind}: {why}\n"));
    lines.collect()
}

/// By its name, or by its row where names were not recorded.
fn called(what: &str, name: &Value) -> String {
    match name.as_str() {
        Some(name) => format!("{what} `{name}`"),
        None => format!("{what} row {name}"),
    }
}

/// A verdict line by line, so that lines which stayed the same need not be shown.
fn lines(kind: &str, question: &Value, verdict: &Value) -> Vec<String> {
    let items = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let rows = |name: &str| items(&question[name]);
    match verdict {
        Value::Object(fields) if fields.contains_key("failed") => vec![record(fields)],
        Value::Object(fields) if kind == "placement" => {
            let scores = rows("candidates").into_iter().zip(items(&fields["scores"]));
            let mut lines: Vec<_> = scores
                .map(|(node, score)| match score.as_i64() {
                    Some(-1) => format!("{}: refused", called("node", &node)),
                    Some(_) | None => format!("{}: {score}", called("node", &node)),
                })
                .collect();
            let reasons = items(&fields["reasons"]);
            lines.extend(reasons.iter().filter_map(Value::as_object).map(record));
            lines.extend(fields["ask_again_ms"].as_u64().map(|ms| format!("ask again in {ms} ms")));
            lines
        }
        // One decision for each of the volumes.
        Value::Array(decisions) if kind == "failover" => {
            let records = decisions.iter().filter_map(Value::as_object).map(record);
            let volumes = rows("volumes").into_iter().zip(records);
            volumes.map(|(volume, said)| format!("{}: {said}", called("volume", &volume))).collect()
        }
        // Each names a copy by its position among those in the question.
        Value::Array(droppable) if kind == "prune" => {
            let copies = rows("copies");
            let copy = |item: &Value| {
                let position = usize::try_from(item["copy"].as_u64()?).ok()?;
                let tag = copies.get(position)?["tag"].as_str()?;
                let reason = item["reason"].as_str().unwrap_or_default();
                Some(format!("copy `{tag}` may go: {reason}"))
            };
            droppable.iter().filter_map(copy).collect()
        }
        Value::Array(items) => items.iter().filter_map(Value::as_object).map(record).collect(),
        Value::Object(fields) => {
            let due = items(&fields["due"]);
            let again = fields["ask_again_ms"].as_u64().map(|ms| format!("ask again in {ms} ms"));
            due.iter().filter_map(Value::as_object).map(record).chain(again).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => vec![],
    }
}

/// A record in one line, without what is empty in it.
fn record(fields: &Map<String, Value>) -> String {
    let field = |(key, value): (&String, &Value)| {
        let empty = match value {
            Value::Null => true,
            Value::Array(items) => items.is_empty(),
            Value::String(text) => text.is_empty(),
            Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
        };
        if empty {
            return None;
        }
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Some(format!("{} {value}", key.replace('_', "-")))
    };
    fields.iter().filter_map(field).collect::<Vec<_>>().join(", ")
}
