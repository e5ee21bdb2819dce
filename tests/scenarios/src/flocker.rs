//! The `flocker` command as an operator uses it; its `--json` is read here and nowhere else.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::programs;

/// The command, talking to one node.
#[derive(Debug, Clone)]
pub struct Flocker {
    address: String,
}

/// What a command ended with.
#[derive(Debug, Clone)]
pub struct Said {
    /// Its exit status.
    pub status: Option<i32>,
    /// What it printed for programs.
    pub json: Value,
    /// What it told people.
    pub stderr: String,
}

/// An operation, as far as scenarios look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Its id.
    pub id: String,
    /// `done`, `aborted`, `failed`, or a state that is not the last.
    pub state: String,
    /// Why it is in this state.
    pub reason: String,
    /// All bytes that travelled.
    pub bytes: u64,
    /// How long clients were held, by the leader's clock.
    pub blackout_ms: Option<u64>,
    /// What each phase took in milliseconds, in order; undone ones carry `undo `.
    pub phases: Vec<(String, u64)>,
}

impl Operation {
    fn of(value: &Value) -> Self {
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        let phases = value["phases"].as_array().into_iter().flatten().map(|phase| {
            let undo = if phase["undo"] == true { "undo " } else { "" };
            let name = phase["phase"].as_str().unwrap_or_default();
            (format!("{undo}{name}"), phase["ms"].as_u64().unwrap_or_default())
        });
        Self {
            id: text("id"),
            state: text("state"),
            reason: text("reason"),
            bytes: value["bytes"].as_u64().unwrap_or_default(),
            blackout_ms: value["blackout_ms"].as_u64(),
            phases: phases.collect(),
        }
    }

    /// Whether nothing more will happen.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self.state.as_str(), "done" | "aborted" | "failed")
    }
}

impl Flocker {
    pub(crate) fn at(socket: &Path) -> Self {
        Self { address: format!("unix://{}", socket.display()) }
    }

    /// Runs it with `input` on its stdin.
    fn run(&self, words: &[&str], input: &str) -> Result<Said> {
        let mut command = Command::new(programs::flocker()?);
        command.args(["--json", "--address", &self.address]).args(words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("could not start `flocker`")?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes()).context("`flocker` did not read its input")?;
        }
        let output = child.wait_with_output()?;
        let (stdout, stderr) = (output.stdout, output.stderr);
        Ok(Said {
            status: output.status.code(),
            json: serde_json::from_slice(&stdout).unwrap_or(Value::Null),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
        })
    }

    /// What it says, whatever that is.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn try_ask(&self, words: &[&str]) -> Result<Said> {
        self.run(words, "")
    }

    /// What it answers.
    ///
    /// # Errors
    /// When it did not end well.
    pub fn ask(&self, words: &[&str]) -> Result<Value> {
        let said = self.try_ask(words)?;
        if said.status != Some(0) {
            bail!("`flocker {}` ended with {:?}: {}", words.join(" "), said.status, said.stderr);
        }
        Ok(said.json)
    }

    /// Deploys a Compose file, whatever comes of it.
    ///
    /// # Errors
    /// When the command cannot be run.
    pub fn try_deploy(&self, manifest: &str) -> Result<Said> {
        self.run(&["app", "deploy", "-", "--timeout", "120s"], manifest)
    }

    /// Deploys a Compose file, and waits until it runs.
    ///
    /// # Errors
    /// When it does not.
    pub fn deploy(&self, manifest: &str) -> Result<Operation> {
        let said = self.try_deploy(manifest)?;
        if said.status != Some(0) {
            bail!("could not deploy: {}", said.stderr);
        }
        Ok(Operation::of(&said.json))
    }

    /// Begins to deploy a Compose file; the operation's id.
    ///
    /// # Errors
    /// When it was not begun.
    pub fn begin_deploy(&self, manifest: &str) -> Result<String> {
        let said = self.run(&["app", "deploy", "-", "--detach"], manifest)?;
        let id = said.json["operation"].as_str();
        Ok(id.with_context(|| format!("nothing was begun: {}", said.stderr))?.to_owned())
    }

    /// Moves an app, and waits for the end of it, whichever that is.
    ///
    /// # Errors
    /// When the move was not even begun.
    pub fn move_to(&self, app: &str, node: &str) -> Result<Operation> {
        let said = self.try_ask(&["move", app, "--to", node, "--timeout", "120s"])?;
        if said.json["id"].is_null() {
            bail!("`{app}` was not moved to {node}: {}", said.stderr);
        }
        Ok(Operation::of(&said.json))
    }

    /// Begins a move; its id.
    ///
    /// # Errors
    /// When it was not begun.
    pub fn begin_move(&self, app: &str, node: &str) -> Result<String> {
        let answer = self.ask(&["move", app, "--to", node, "--detach"])?;
        Ok(answer["operation"].as_str().context("no operation")?.to_owned())
    }

    /// An operation.
    ///
    /// # Errors
    /// When there is no such one, or nobody answers.
    pub fn operation(&self, id: &str) -> Result<Operation> {
        Ok(Operation::of(&self.ask(&["operation", "show", id])?))
    }

    /// The node that owns the app; `None` where nobody does, or there is no such app.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn owner(&self, app: &str) -> Result<Option<String>> {
        let apps = self.ask(&["app", "ls"])?;
        let apps = apps["apps"].as_array().context("no apps")?;
        let found = apps.iter().find(|one| one["name"] == app);
        Ok(found.and_then(|one| one["node"].as_str()).map(str::to_owned))
    }

    /// Names of apps, or of volumes, that the cluster knows.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn names(&self, what: &str) -> Result<Vec<String>> {
        let listed = self.ask(&[what, "ls"])?;
        let listed = listed[format!("{what}s")].as_array().context("nothing is listed")?;
        Ok(listed.iter().filter_map(|one| one["name"].as_str()).map(str::to_owned).collect())
    }

    /// How many nodes answered lately.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn n_alive(&self) -> Result<usize> {
        let status = self.ask(&["status"])?;
        let nodes = status["nodes"].as_array().context("no nodes")?;
        Ok(nodes.iter().filter(|node| node["alive"] == true).count())
    }
}
