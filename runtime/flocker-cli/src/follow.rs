//! Follows what was begun until it ends, across lost connections and changes of the leading node.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use flocker_api::{Client, Code, Failure, convert, v1};
use flocker_model::{
    ByteSize, NodeName, Operation, OperationId, OperationKind, OperationState, Timestamp,
};
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::{
    args::Follow,
    progress::Progress,
    show,
    terminal::{self, Answer},
};

/// Without any answer for so long, following ends. A new leader is found in much less.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two attempts to reach the cluster, and between two looks at a draining node.
const PAUSE: Duration = Duration::from_millis(500);

/// Ten times a second a moving number looks as if it moved.
const FRAME: Duration = Duration::from_millis(100);

/// What is to be said of an operation that was begun: at once, or when it has ended.
pub(crate) async fn begun(
    client: &mut Client,
    id: &str,
    follow: Follow,
) -> Result<Answer, Failure> {
    let id: OperationId = convert::parse("operation", id)?;
    if follow.detach {
        let text = format!("operation {id} has begun; `flocker operation watch {id}` follows it\n");
        return Ok(Answer::new(json!({"operation": id.as_str()}), text));
    }
    watched(client, &id, follow.timeout).await
}

/// The operation when it has ended.
pub(crate) async fn watched(
    client: &mut Client,
    id: &OperationId,
    limit: Option<Duration>,
) -> Result<Answer, Failure> {
    let operation = within(limit, id.as_str(), watch(client, id)).await?;
    let failure = match &operation.state {
        OperationState::Done => None,
        OperationState::Running | OperationState::Waiting { .. } => Some(Failure::new(
            Code::INTERNAL,
            format!("the node stopped telling about operation `{id}`"),
        )),
        OperationState::Aborted { reason } | OperationState::Failed { reason } => {
            Some(ended_badly(&operation, reason))
        }
    };
    let mut json = show::operation_json(&operation);
    if let (Some(failure), Some(fields)) = (&failure, json.as_object_mut())
        && let Value::Object(error) = show::failure(failure)
    {
        // The operation, and beside it what every error has.
        fields.extend(error);
    }
    Ok(Answer { json, text: show::operation_text(&operation), failure })
}

fn ended_badly(operation: &Operation, reason: &str) -> Failure {
    let Operation { id, app, .. } = operation;
    let (reason, hint) = match reason.split_once("\nhint: ") {
        Some((reason, hint)) => (reason, hint.to_owned()),
        None => (
            reason,
            format!(
                "`flocker explain {id}` says why it was begun, `flocker app inspect {app}` how the app is"
            ),
        ),
    };
    Failure::new(Code::INTERNAL, format!("could not {}: {reason}", show::what(operation)))
        .hint(hint)
}

async fn within<T>(
    limit: Option<Duration>,
    id: &str,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let Some(limit) = limit else { return work.await };
    timeout(limit, work).await.unwrap_or_else(|_| {
        Err(Failure::new(
            Code::INTERNAL,
            format!("`{id}` has not ended after {}; it goes on", show::span(limit)),
        )
        .hint(
            "`flocker operation ls` shows what runs; `--timeout` sets how long this command waits",
        ))
    })
}

async fn watch(client: &mut Client, id: &OperationId) -> Result<Operation, Failure> {
    let mut progress = Progress::new();
    let mut heard = Instant::now();
    loop {
        let failure = match watch_once(client, id, &mut progress, &mut heard).await {
            Ok(operation) => {
                progress.clear();
                return Ok(operation);
            }
            Err(failure) => failure,
        };
        if !terminal::is_no_answer(&failure) || heard.elapsed() > PATIENCE {
            progress.clear();
            return Err(failure);
        }
        sleep(PAUSE).await;
    }
}

/// Follows it over one connection. Ends well only with an operation that has ended.
async fn watch_once(
    client: &mut Client,
    id: &OperationId,
    progress: &mut Progress,
    heard: &mut Instant,
) -> Result<Operation, Failure> {
    let mut updates =
        client.watch_operation(v1::WatchOperationRequest { id: id.to_string() }).await?;
    let mut frames = interval(FRAME);
    frames.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut last: Option<(Operation, Option<ByteSize>, Timestamp)> = None;
    loop {
        tokio::select! {
            update = updates.next() => {
                *heard = Instant::now();
                let Some((operation, update)) = update? else {
                    return Err(Failure::new(Code::UNREACHABLE, format!("the node stopped telling about operation `{id}`")));
                };
                let (sending, now) = (update.sending.map(ByteSize), Timestamp(update.now_ms));
                progress.update(&operation, sending, now);
                if operation.state.is_final() {
                    return Ok(operation);
                }
                last = Some((operation, sending, now));
            }
            _ = frames.tick() => {
                if let Some((operation, sending, now)) = &last {
                    progress.tick(operation, *sending, *now);
                }
            }
        }
    }
}

/// Follows a drain until the node is empty.
pub(crate) async fn drained(
    client: &mut Client,
    node: &NodeName,
    limit: Option<Duration>,
) -> Result<Answer, Failure> {
    let operations = within(limit, node.as_str(), watch_drain(client, node)).await?;
    let json = json!({
        "node": node.as_str(),
        "drained": true,
        "operations": operations.iter().map(show::operation_json).collect::<Vec<_>>(),
    });
    let mut text = String::new();
    if !operations.is_empty() {
        text += &show::operations_table(&operations);
        text += "\n";
    }
    text +=
        &format!("node {node} is empty; `flocker node undrain {node}` lets it take apps again\n");
    Ok(Answer::new(json, text))
}

/// The moves away from the node, once no app is left on it.
async fn watch_drain(client: &mut Client, node: &NodeName) -> Result<Vec<Operation>, Failure> {
    let mut moves: BTreeMap<OperationId, Operation> = BTreeMap::new();
    let mut progress: BTreeMap<OperationId, Progress> = BTreeMap::new();
    let mut troubles: BTreeMap<String, String> = BTreeMap::new();
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
        let now = Timestamp(status.now_ms);
        for operation in convert::each::<_, Operation>(status.operations)? {
            if matches!(&operation.kind, OperationKind::Move { source, .. } if source == node) {
                progress
                    .entry(operation.id.clone())
                    .or_insert_with(Progress::new)
                    .update(&operation, None, now);
                moves.insert(operation.id.clone(), operation);
            }
        }
        say_troubles(&status.apps, node, &mut troubles);
        let left = left_on(&status.nodes, node)?;
        settle(client, &mut moves, &mut progress).await?;
        if left == 0 {
            return Ok(moves.into_values().collect());
        }
        sleep(PAUSE).await;
    }
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

/// Says once why an app does not leave.
fn say_troubles(apps: &[v1::AppView], node: &NodeName, said: &mut BTreeMap<String, String>) {
    for view in apps {
        let (Some(app), Some(trouble)) = (&view.app, &view.trouble) else { continue };
        if app.owner.as_deref() == Some(node.as_str()) && said.get(&app.name) != Some(trouble) {
            terminal::say(&format!("app {}: {trouble}", app.name));
            said.insert(app.name.clone(), trouble.clone());
        }
    }
}

/// Looks up how those ended that no longer run.
async fn settle(
    client: &mut Client,
    moves: &mut BTreeMap<OperationId, Operation>,
    progress: &mut BTreeMap<OperationId, Progress>,
) -> Result<(), Failure> {
    for operation in moves.values_mut().filter(|operation| !operation.state.is_final()) {
        match client.get_operation(v1::GetOperationRequest { id: operation.id.to_string() }).await {
            Ok(fresh) => *operation = fresh,
            // Asked again in the next round.
            Err(failure) if terminal::is_no_answer(&failure) => return Ok(()),
            Err(failure) => return Err(failure),
        }
        if operation.state.is_final() {
            if let Some(progress) = progress.remove(&operation.id) {
                progress.clear();
            }
            let text = show::operation_text(operation);
            terminal::say(text.lines().last().unwrap_or_default());
        }
    }
    Ok(())
}
