//! New builds of plugins that do not count yet, or never will, for `flocker plugin ls`.

use flocker_api::v1;
use flocker_model::Timestamp;
use serde_json::{Value, json};

use crate::show::moment;

/// A line for each, below the table.
pub(super) fn next_builds(plugins: &[v1::Plugin]) -> String {
    let lines: String = plugins
        .iter()
        .filter_map(|plugin| Some(line(&plugin.name, plugin.next.as_ref()?)))
        .collect();
    if lines.is_empty() { lines } else { format!("\n{lines}") }
}

fn line(plugin: &str, next: &v1::NextBuild) -> String {
    let v1::NextBuild { version, n_decisions, n_wanted, n_disagreements, .. } = next;
    let digest = next.digest.strip_prefix("sha256:").unwrap_or(&next.digest);
    let build = format!("{version} ({})", digest.get(..12).unwrap_or(digest));
    match &next.trouble {
        None => {
            let until = moment(Timestamp(next.until_ms));
            format!(
                "{plugin}: the new build {build} is asked in shadow: {n_decisions} of {n_wanted} decisions, of which it would have changed {n_disagreements}; it counts from {until} at the latest\n"
            )
        }
        Some(trouble) => format!(
            "{plugin}: the new build {build} failed in shadow and is not used: {trouble}\nhint: put a better file in its place and send the daemon SIGHUP\n"
        ),
    }
}

pub(super) fn next_json(plugin: &v1::Plugin) -> Value {
    plugin.next.as_ref().map_or(Value::Null, |next| {
        json!({
            "version": next.version,
            "digest": next.digest,
            "decisions": next.n_decisions,
            "wanted": next.n_wanted,
            "until_ms": next.until_ms,
            "disagreements": next.n_disagreements,
            "trouble": next.trouble,
        })
    })
}
