//! Follows a drain until the node is empty, and says what keeps it from being so.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use flocker_api::{Client, Code, Failure, convert, v1};
use flocker_model::{
    NodeName, Operation, OperationId, OperationKind, OperationState, Timestamp, Volume,
};
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::{
    follow::{PATIENCE, PAUSE},
    progress::Progress,
    show,
    terminal::{self, Answer},
};

/// What happened on a node so far that is being drained.
#[derive(Debug, Default)]
struct Drain {
    /// The moves away from it.
    moves: BTreeMap<OperationId, Operation>,
    progress: BTreeMap<OperationId, Progress>,
    /// The apps on it at the last look, and what each waits for.
    left: BTreeMap<String, String>,
    /// What was said of each.
    said: BTreeMap<String, String>,
}

/// The moves away from the node, once no app is left on it.
pub(crate) async fn drained(
    client: &mut Client,
    node: &NodeName,
    limit: Duration,
) -> Result<Answer, Failure> {
    let mut drain = Drain::default();
    match timeout(limit, drain.watch(client, node)).await {
        Ok(ended) => ended?,
        Err(_) => return Err(drain.not_yet(node, limit)),
    }
    let operations: Vec<Operation> = drain.moves.into_values().collect();
    let volumes = volumes_on(client, node).await?;
    let json = json!({
        "node": node.as_str(),
        "drained": true,
        "operations": operations.iter().map(show::operation_json).collect::<Vec<_>>(),
        "volumes": volumes,
    });
    let mut text = String::new();
    if !operations.is_empty() {
        text += &show::operations_table(&operations);
        text += "\n";
    }
    text += &format!(
        "no app is on node {node}; `flocker node undrain {node}` lets it take apps again, `flocker node rm {node}` removes it\n"
    );
    if !volumes.is_empty() {
        text += &format!("volumes of no app stay on it: {}\n", volumes.join(", "));
    }
    Ok(Answer::new(json, text))
}

/// The names of the volumes that the node owns: those that no app uses are not moved.
async fn volumes_on(client: &mut Client, node: &NodeName) -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    for view in client.list_volumes(v1::ListVolumesRequest {}).await?.volumes {
        let volume: Volume = convert::required("volume", view.volume)?;
        if volume.owner.as_ref() == Some(node) {
            names.push(volume.name.to_string());
        }
    }
    Ok(names)
}

impl Drain {
    async fn watch(&mut self, client: &mut Client, node: &NodeName) -> Result<(), Failure> {
        let mut heard = Instant::now();
        loop {
            let status = match client.status(v1::StatusRequest {}).await {
                Ok(status) => status,
                Err(failure) if terminal::is_no_answer(&failure) && heard.elapsed() < PATIENCE => {
                    sleep(PAUSE).await;
                    continue;
                }
                Err(failure) => return Err(failure),
            };
            heard = Instant::now();
            let operations: Vec<Operation> = convert::each(status.operations)?;
            self.follow_moves(&operations, node, Timestamp(status.now_ms));
            self.say_what_waits(waiting(&status.apps, &operations, node));
            let left = left_on(&status.nodes, node)?;
            self.settle(client).await?;
            if left == 0 {
                return Ok(());
            }
            sleep(PAUSE).await;
        }
    }

    fn follow_moves(&mut self, operations: &[Operation], node: &NodeName, now: Timestamp) {
        for operation in operations.iter().filter(|operation| leaves(operation, node)) {
            let progress = self.progress.entry(operation.id.clone()).or_insert_with(Progress::new);
            progress.update(operation, None, now);
            self.moves.insert(operation.id.clone(), operation.clone());
        }
    }

    /// Says once what an app waits for that is not on its way. What passes from one look to the next is not said.
    fn say_what_waits(&mut self, left: BTreeMap<String, Waits>) {
        for (app, waits) in &left {
            let lasting = self.left.get(app) == Some(&waits.why);
            if lasting && !waits.moving && self.said.get(app) != Some(&waits.why) {
                terminal::say(&format!("app {app}: {}", waits.why));
                self.said.insert(app.clone(), waits.why.clone());
            }
        }
        self.left = left.into_iter().map(|(app, waits)| (app, waits.why)).collect();
    }

    /// Looks up how those ended that no longer run.
    async fn settle(&mut self, client: &mut Client) -> Result<(), Failure> {
        for operation in self.moves.values_mut().filter(|operation| !operation.state.is_final()) {
            let request = v1::GetOperationRequest { id: operation.id.to_string() };
            match client.get_operation(request).await {
                Ok(fresh) => *operation = fresh,
                // Asked again in the next round.
                Err(failure) if terminal::is_no_answer(&failure) => return Ok(()),
                Err(failure) => return Err(failure),
            }
            if operation.state.is_final() {
                drop(self.progress.remove(&operation.id));
                let text = show::operation_text(operation);
                terminal::say(text.lines().last().unwrap_or_default());
            }
        }
        Ok(())
    }

    fn not_yet(&self, node: &NodeName, limit: Duration) -> Failure {
        let mut message = format!("node `{node}` is not empty after {}", show::span(limit));
        for (app, why) in &self.left {
            message += &format!("\napp {app}: {why}");
        }
        Failure::new(Code::STILL_RUNNING, message).hint(format!(
            "the drain goes on: `flocker node drain {node}` waits again, longer with `--timeout`, and `flocker node undrain {node}` ends it"
        ))
    }
}

/// Whether it moves an app away from the node.
fn leaves(operation: &Operation, node: &NodeName) -> bool {
    matches!(&operation.kind, OperationKind::Move { source, .. } if source == node)
}

/// Why an app is still on the node.
#[derive(Debug)]
struct Waits {
    why: String,
    /// It is on its way, which is shown elsewhere.
    moving: bool,
}

/// The apps on the node, and what each waits for.
fn waiting(
    apps: &[v1::AppView],
    operations: &[Operation],
    node: &NodeName,
) -> BTreeMap<String, Waits> {
    let mut left = BTreeMap::new();
    for view in apps {
        let Some(app) = &view.app else { continue };
        if app.owner.as_deref() != Some(node.as_str()) {
            continue;
        }
        let held = app.operation.as_deref();
        let operation = operations.iter().find(|operation| held == Some(operation.id.as_str()));
        let why = match (operation.map(|o| (show::what(o), &o.state, o.phase)), &view.trouble) {
            (Some((what, OperationState::Waiting { reason }, _)), _) => {
                format!("{what} waits: {reason}")
            }
            (Some((what, _, phase)), _) => format!("{what} is at {phase}"),
            (None, Some(trouble)) => trouble.clone(),
            (None, None) => "it waits for its turn".to_owned(),
        };
        let moving = operation.is_some_and(|operation| leaves(operation, node));
        left.insert(app.name.clone(), Waits { why, moving });
    }
    left
}

fn left_on(nodes: &[v1::NodeView], node: &NodeName) -> Result<u32, Failure> {
    let view =
        nodes.iter().find(|view| view.node.as_ref().is_some_and(|n| n.name == node.as_str()));
    let view =
        view.ok_or_else(|| Failure::new(Code::NODE_NOT_FOUND, format!("node `{node}` is gone")))?;
    if view.node.as_ref().is_some_and(|n| !n.draining) {
        return Err(Failure::new(
            Code::CONFLICT,
            format!("node `{node}` is no longer being drained"),
        )
        .hint("somebody undrained it meanwhile"));
    }
    Ok(view.apps)
}
