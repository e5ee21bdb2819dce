//! Decisions as they are kept for `flocker explain`: a text for people beside a document for machines.

mod silence;

use std::time::Duration;

use bytes::Bytes;
use flocker_model::{Timestamp, VolumeName};
use flocker_planner::{DecidedBy, Decision, Opinion, Settled, Shadow};
use serde_json::{Value, json};

pub(crate) use silence::with_silence;

/// The decision, as it is kept.
pub(crate) fn document(decision: &Decision) -> Bytes {
    let by = match decision.decided_by {
        DecidedBy::Policies => "policies",
        DecidedBy::BuiltIn => "built-in",
        DecidedBy::Rules => "rules",
        DecidedBy::Rebalance => "rebalance",
        DecidedBy::Operator => "operator",
    };
    let candidates: Vec<Value> = decision
        .candidates
        .iter()
        .map(|c| {
            let opinion =
                |o: &Opinion| json!({ "policy": o.policy, "weight": o.weight, "score": o.score });
            json!({
                "node": c.node.as_str(), "score": c.score, "reasons": c.reasons,
                "opinions": c.opinions.iter().map(opinion).collect::<Vec<_>>(),
            })
        })
        .collect();
    let tie = decision.tie.as_ref().map(|tie| {
        let settled = match tie.settled {
            Settled::Present => "present-node",
            Settled::Lot => "lot",
        };
        let with = tie.with.iter().map(flocker_model::NodeName::as_str);
        json!({ "with": with.collect::<Vec<_>>(), "settled_by": settled })
    });
    let excluded: Vec<Value> = decision
        .excluded
        .iter()
        .map(|e| json!({ "node": e.node.as_str(), "reason": e.reason }))
        .collect();
    let consulted: Vec<Value> = decision
        .consulted
        .iter()
        .map(|c| {
            json!({
                "policy": c.policy, "digest": c.digest, "weight": c.weight, "shadow": c.shadow,
                "columns": c.evidence.columns, "fuel": c.evidence.fuel,
            })
        })
        .collect();
    let failures: Vec<Value> = decision
        .failures
        .iter()
        .map(|f| json!({ "policy": f.policy, "class": f.failure.class, "message": f.failure.message }))
        .collect();
    let shadows: Vec<Value> = decision.shadows.iter().map(shadow).collect();
    let document = json!({
        "v": 1,
        "id": decision.id.as_str(),
        "at_ms": decision.at.0,
        "app": decision.app.as_str(),
        "purpose": decision.purpose.to_string(),
        "chosen": decision.chosen.as_ref().map(flocker_model::NodeName::as_str),
        "decided_by": by,
        "candidates": candidates,
        "tie": tie,
        "excluded": excluded,
        "consulted": consulted,
        "failures": failures,
        "shadows": shadows,
        "text": format!("{decision}decided at {}\n", moment(decision.at)),
    });
    Bytes::from(document.to_string())
}

/// The explanation of an app about whose volumes something is not done: that comes before why it is where it is.
pub(crate) fn with_troubles(
    placed: Option<&Bytes>,
    app: &str,
    troubles: &[(VolumeName, String)],
) -> Bytes {
    let mut document: Value = placed
        .and_then(|placed| serde_json::from_slice(placed).ok())
        .unwrap_or_else(|| json!({ "v": 1, "app": app }));
    let lines = troubles.iter().map(|(volume, trouble)| format!("volume `{volume}`: {trouble}\n"));
    let before = document["text"].as_str().map(|text| format!("\n{text}")).unwrap_or_default();
    document["text"] = json!(lines.chain([before]).collect::<String>());
    let trouble = |(volume, trouble): &(VolumeName, String)| json!({ "volume": volume.as_str(), "trouble": trouble });
    document["troubles"] = troubles.iter().map(trouble).collect();
    Bytes::from(document.to_string())
}

/// A moment, in UTC, of those that the library knows.
fn moment(at: Timestamp) -> String {
    let at = Duration::from_millis(at.0).min(Duration::from_secs(253_402_300_799));
    humantime::format_rfc3339_seconds(std::time::UNIX_EPOCH + at).to_string()
}

/// What a policy in shadow would have chosen, or why its answer could not have been used.
fn shadow(shadow: &Shadow) -> Value {
    match &shadow.would {
        Ok(node) => {
            json!({ "policy": shadow.policy, "chosen": node.as_ref().map(ToString::to_string) })
        }
        Err(f) => json!({ "policy": shadow.policy, "class": f.class, "message": f.message }),
    }
}
