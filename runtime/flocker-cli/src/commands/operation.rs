//! `flocker operation`.

use flocker_api::{Client, Failure, convert, v1};
use flocker_model::Operation;
use serde_json::json;

use crate::{args::OperationCommand, follow, show, terminal::Answer};

/// The most that `ls --all` shows: more than anybody reads, and it ends.
const LISTED_MAX: u32 = 200;

pub(super) async fn run(client: &mut Client, command: OperationCommand) -> Result<Answer, Failure> {
    match command {
        OperationCommand::Ls { all, app } => {
            let app = app.map(|app| app.to_string());
            let request = v1::ListOperationsRequest { app, ended: all, n_max: LISTED_MAX };
            let operations: Vec<Operation> =
                convert::each(client.list_operations(request).await?.operations)?;
            let json = operations.iter().map(show::operation_json).collect::<Vec<_>>();
            let none = if all {
                "there are no operations"
            } else {
                "no operation runs; `--all` shows those that have ended"
            };
            let table = show::operations_table(&operations);
            Ok(Answer::list(json!({"operations": json}), table, operations.len(), none))
        }
        OperationCommand::Show { id } => {
            let operation =
                client.get_operation(v1::GetOperationRequest { id: id.to_string() }).await?;
            Ok(Answer::new(show::operation_json(&operation), show::operation_text(&operation)))
        }
        OperationCommand::Abort { id, follow } => {
            let operation =
                client.abort_operation(v1::AbortOperationRequest { id: id.to_string() }).await?;
            if follow.detach {
                return Ok(Answer::new(
                    show::operation_json(&operation),
                    format!("operation {id} goes back\n"),
                ));
            }
            let mut answer = follow::watched(client, &id, follow.timeout).await?;
            // That it was aborted is what was asked for.
            answer.failure = answer.failure.filter(|_| answer.json["state"] != "aborted");
            Ok(answer)
        }
        OperationCommand::Watch { id, timeout } => follow::watched(client, &id, timeout).await,
    }
}
