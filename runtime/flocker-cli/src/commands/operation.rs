//! `flocker operation`.

use flocker_api::{Client, Code, Failure, convert, v1};
use flocker_model::{Operation, OperationId};
use serde_json::json;

use crate::{
    args::{IdPrefix, OperationCommand},
    follow, show,
    terminal::Answer,
};

/// The most that `ls --all` shows: more than anybody reads, and it ends.
const LISTED_MAX: u32 = 200;
/// Of a whole id, which is a UUID: what is as long has no need to be looked up.
const ID_CHARS: usize = 36;
/// Operations that are listed where several may be meant.
const CANDIDATES_MAX: usize = 10;

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
            let id = meant(client, &id).await?;
            let operation =
                client.get_operation(v1::GetOperationRequest { id: id.to_string() }).await?;
            Ok(Answer::new(show::operation_json(&operation), show::operation_text(&operation)))
        }
        OperationCommand::Abort { id, follow } => {
            let id = meant(client, &id).await?;
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
        OperationCommand::Watch { id, timeout } => {
            let id = meant(client, &id).await?;
            follow::watched(client, &id, timeout).await
        }
    }
}

/// The operation whose id begins so.
async fn meant(client: &mut Client, prefix: &IdPrefix) -> Result<OperationId, Failure> {
    let IdPrefix(text) = prefix;
    if text.len() < ID_CHARS {
        let request = v1::ListOperationsRequest { app: None, ended: true, n_max: 0 };
        let operations: Vec<Operation> =
            convert::each(client.list_operations(request).await?.operations)?;
        if let Some(id) = only(&operations, text)? {
            return Ok(id);
        }
    }
    // The node says that there is none; unless that cannot even be asked.
    text.parse().map_err(|_| {
        let message = format!("there is no operation whose id begins with `{text}`");
        Failure::new(Code::OPERATION_NOT_FOUND, message)
            .hint("`flocker operation ls --all` lists the operations")
    })
}

/// The one that is called so, or whose id alone begins so; nothing where there is none.
fn only(operations: &[Operation], prefix: &str) -> Result<Option<OperationId>, Failure> {
    if let Some(whole) = operations.iter().find(|o| o.id.as_str() == prefix) {
        return Ok(Some(whole.id.clone()));
    }
    let begin: Vec<_> = operations.iter().filter(|o| o.id.as_str().starts_with(prefix)).collect();
    match begin.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(one.id.clone())),
        several => {
            let mut message = format!("`{prefix}` is the beginning of {} ids:", several.len());
            for operation in several.iter().take(CANDIDATES_MAX) {
                message += &format!("\n  {}  {}", operation.id, show::what(operation));
            }
            if several.len() > CANDIDATES_MAX {
                message += &format!("\n  and {} more", several.len() - CANDIDATES_MAX);
            }
            Err(Failure::new(Code::INVALID_ARGUMENT, message).hint("write more of the id"))
        }
    }
}

#[cfg(test)]
mod tests {
    use flocker_model::{MoveReport, OperationKind, OperationState, Phase, Purpose, Timestamp};

    use super::*;

    fn operation(id: &str) -> Operation {
        Operation {
            id: id.parse().unwrap(),
            app: "shop".parse().unwrap(),
            kind: OperationKind::Remove { node: None, volumes: false },
            purpose: Purpose::Operator,
            state: OperationState::Running,
            phase: Phase::ALL[0],
            undoing: None,
            trouble: None,
            started: Timestamp(0),
            finished: None,
            parked: None,
            report: MoveReport::default(),
        }
    }

    #[test]
    fn the_beginning_of_an_id_is_enough_where_no_other_begins_so() {
        let operations = ["0190-a", "0190-ab", "0191-c"].map(operation);
        let meant = |prefix: &str| {
            let found = only(&operations, prefix).map_err(|failure| failure.message)?;
            Ok(found.map(|id| id.to_string()))
        };

        assert_eq!(meant("0191-"), Ok(Some("0191-c".to_owned())));
        // All of one, although another begins with it.
        assert_eq!(meant("0190-a"), Ok(Some("0190-a".to_owned())));
        assert_eq!(meant("0192"), Ok(None));
        let several =
            "`0190` is the beginning of 2 ids:\n  0190-a  remove shop\n  0190-ab  remove shop";
        assert_eq!(meant("0190"), Err(several.to_owned()));
    }

    #[test]
    fn of_very_many_candidates_the_first_are_listed() {
        let operations: Vec<_> = (0..25).map(|n| operation(&format!("0190-{n}"))).collect();
        let refused = only(&operations, "0190").unwrap_err().message;
        assert_eq!(refused.lines().count(), 12, "{refused}");
        assert!(refused.ends_with("\n  and 15 more"), "{refused}");
    }
}
