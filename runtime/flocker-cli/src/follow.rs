//! Follows what was begun until it ends, across lost connections and changes of the leading node.

use std::time::{Duration, Instant};

use flocker_api::{Client, Code, Failure, convert, v1};
use flocker_model::{ByteSize, Operation, OperationId, OperationState, Timestamp};
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::{
    args::Follow,
    progress::Progress,
    show,
    terminal::{self, Answer},
};

/// Without any answer for so long, following ends. A new leader is found in much less.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Between two attempts to reach the cluster, and between two looks at a draining node.
pub(crate) const PAUSE: Duration = Duration::from_millis(500);

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
    let operation = within(limit, id, watch(client, id)).await?;
    let failure = match &operation.state {
        OperationState::Done => None,
        OperationState::Running | OperationState::Waiting { .. } => Some(Failure::new(
            Code::UNREACHABLE,
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
    Ok(Answer { failure, ..Answer::new(json, show::operation_text(&operation)) })
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
    Failure::new(Code::OPERATION_FAILED, format!("could not {}: {reason}", show::what(operation)))
        .hint(hint)
}

async fn within<T>(
    limit: Option<Duration>,
    id: &OperationId,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let Some(limit) = limit else { return work.await };
    timeout(limit, work).await.unwrap_or_else(|_| {
        Err(Failure::new(
            Code::STILL_RUNNING,
            format!("operation `{id}` has not ended after {}; it goes on", show::span(limit)),
        )
        .hint(format!("`flocker operation watch {id}` follows it again")))
    })
}

async fn watch(client: &mut Client, id: &OperationId) -> Result<Operation, Failure> {
    let mut progress = Progress::new();
    let mut heard = Instant::now();
    loop {
        let failure = match watch_once(client, id, &mut progress, &mut heard).await {
            Ok(operation) => return Ok(operation),
            Err(failure) => failure,
        };
        if !terminal::is_no_answer(&failure) || heard.elapsed() > PATIENCE {
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
                // The node is pinged while it has no news: a connection that broke now was alive until now.
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
