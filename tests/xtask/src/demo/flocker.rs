//! The `flocker` command as the demo uses it: the only file that knows its words and its `--json`.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::{interrupt, say, shell};

/// How long a deploy or a move may take on a slow machine.
const OPERATION_MAX: Duration = Duration::from_secs(180);

/// Between two looks at the cluster.
pub(super) const LOOK: Duration = Duration::from_millis(200);

/// The command, and the node that it talks to.
#[derive(Debug)]
pub(super) struct Flocker {
    program: PathBuf,
    socket: PathBuf,
    variables: Vec<(&'static str, String)>,
}

/// An operation that ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Operation {
    pub(super) id: String,
    pub(super) app: String,
    pub(super) kind: String,
    pub(super) purpose: String,
    pub(super) state: String,
    pub(super) source: String,
    pub(super) target: String,
    /// Phases in order, with milliseconds.
    pub(super) phases: Vec<(String, u64)>,
    pub(super) bytes: u64,
    pub(super) rounds: usize,
    /// As the leader measured it.
    pub(super) blackout_ms: Option<u64>,
}

impl Operation {
    /// Whether nothing more will happen.
    pub(super) fn is_final(&self) -> bool {
        matches!(self.state.as_str(), "done" | "aborted" | "failed")
    }
}

impl Flocker {
    pub(super) fn new(program: &Path, socket: &Path) -> Self {
        Self { program: program.to_owned(), socket: socket.to_owned(), variables: Vec::new() }
    }

    /// How an operator would ask the same.
    pub(super) fn shown(&self) -> String {
        shell::shown(&self.command())
    }

    /// Compose files see these variables from now on, and no others.
    pub(super) fn set_variables(&mut self, variables: &[(&'static str, String)]) {
        self.variables = variables.to_vec();
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["--address", &format!("unix://{}", self.socket.display())]);
        command.envs(self.variables.iter().map(|(name, value)| (*name, value)));
        command
    }

    fn ask(&self, words: &[&str]) -> Result<Value> {
        let text = shell::output(self.command().args(words).arg("--json"))?;
        let last = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
        let whole = serde_json::from_str(&text).or_else(|_| serde_json::from_str(last));
        whole.with_context(|| {
            format!("`flocker {}` did not answer with JSON: {text}", words.join(" "))
        })
    }

    /// Says and does what an operator would; returns when it is done.
    pub(super) fn order(&self, words: &[&str]) -> Result<()> {
        let variables = self
            .variables
            .iter()
            .map(|(name, value)| format!("{name}={value} "))
            .collect::<String>();
        say::line(&format!("$ {variables}flocker {}", words.join(" ")));
        shell::output_within(self.command().args(words), Some(OPERATION_MAX)).map(drop)
    }

    /// How many nodes answered lately.
    pub(super) fn nodes_alive(&self) -> Result<usize> {
        let status = self.ask(&["status"])?;
        let nodes = status["nodes"].as_array().context("`flocker status --json` lists no nodes")?;
        Ok(nodes.iter().filter(|node| node["alive"] == true).count())
    }

    /// The node that owns the app and runs it.
    pub(super) fn owner(&self, app: &str) -> Result<Option<String>> {
        let apps = self.ask(&["app", "ls"])?;
        let apps = apps
            .as_array()
            .or_else(|| apps["apps"].as_array())
            .context("`flocker app ls --json` lists no apps")?;
        let found = apps.iter().find(|one| one["name"] == app);
        Ok(found.and_then(|one| one["node"].as_str()).map(str::to_owned))
    }

    /// Memory of a node that is free.
    pub(super) fn memory_free(&self, node: &str) -> Result<u64> {
        let status = self.ask(&["status"])?;
        let nodes = status["nodes"].as_array().context("`flocker status --json` lists no nodes")?;
        let found = nodes
            .iter()
            .find(|one| one["name"] == node)
            .with_context(|| format!("no node `{node}`"))?;
        found["stats"]["memory"]["free"]
            .as_u64()
            .with_context(|| format!("node `{node}` does not say how much memory is free"))
    }

    /// All operations on the app that ended or run, the oldest first.
    pub(super) fn operations(&self, app: &str) -> Result<Vec<Operation>> {
        let listed = self.ask(&["operation", "ls", "--all"])?;
        let listed = listed["operations"].as_array();
        let listed = listed.context("`flocker operation ls --json` lists no operations")?;
        let mut all: Vec<Operation> = listed.iter().map(operation).collect();
        all.retain(|one| one.app == app);
        // Ids made later sort later.
        all.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(all)
    }

    /// Waits until the app runs on another node than `node`, and nothing is under way.
    pub(super) fn wait_for_move(&self, app: &str, node: &str, limit: Duration) -> Result<String> {
        interrupt::wait_for(&format!("the move of `{app}` away from {node}"), limit, || {
            // Asking takes processor time that the move needs, and its blackout is measured.
            interrupt::pause(LOOK)?;
            let running = self.operations(app)?.iter().any(|one| !one.is_final());
            Ok(self.owner(app)?.filter(|owner| owner != node && !running))
        })
    }

    /// Decisions that policies made: the calls that plugins answered.
    pub(super) fn policy_decisions(&self) -> Result<u64> {
        let listed = self.ask(&["plugin", "ls"])?;
        let plugins = listed.as_array().or_else(|| listed["plugins"].as_array());
        let plugins = plugins.context("`flocker plugin ls --json` lists no plugins")?;
        if plugins.is_empty() {
            bail!("no node runs a plugin");
        }
        Ok(plugins.iter().filter_map(|plugin| plugin["calls"].as_u64()).sum())
    }

    /// Why the app is where it is, for people.
    pub(super) fn explain(&self, app: &str) -> Result<String> {
        shell::output(self.command().args(["explain", app]))
    }
}

fn operation(value: &Value) -> Operation {
    let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let phases = value["phases"].as_array().into_iter().flatten();
    Operation {
        id: text("id"),
        app: text("app"),
        kind: text("kind"),
        purpose: text("purpose"),
        state: text("state"),
        source: text("source"),
        target: text("target"),
        phases: phases
            .map(|one| {
                (
                    one["phase"].as_str().unwrap_or_default().to_owned(),
                    one["ms"].as_u64().unwrap_or_default(),
                )
            })
            .collect(),
        bytes: value["bytes"].as_u64().unwrap_or_default(),
        rounds: value["rounds"].as_array().map_or_else(|| count(&value["rounds"]), Vec::len),
        blackout_ms: value["blackout_ms"].as_u64(),
    }
}

fn count(value: &Value) -> usize {
    value.as_u64().and_then(|number| usize::try_from(number).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_finished_move() {
        let value = serde_json::json!({
            "id": "019", "app": "shop", "kind": "move", "purpose": "drain", "state": "done", "source": "n1",
            "target": "n2", "phases": [{"phase": "seed", "ms": 12}, {"phase": "delta", "ms": 3}], "bytes": 4096,
            "rounds": [{}, {}], "blackout_ms": 80
        });

        let read = operation(&value);

        assert!(read.is_final());
        assert_eq!(read.phases, [("seed".to_owned(), 12), ("delta".to_owned(), 3)]);
        assert_eq!((read.bytes, read.rounds, read.blackout_ms), (4096, 2, Some(80)));
    }
}
