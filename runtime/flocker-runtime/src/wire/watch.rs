//! An operation for whoever watches it: as it is, and then each change of it until its end. Nothing is asked for twice:
//! what changes comes by the watch of the cluster's records.

use std::time::Duration;

use flocker_api::v1;
use flocker_engine::{control::Control, follower::Followed};
use flocker_model::{Operation, OperationKind, Revision};
use flocker_ports::{Clock as _, SystemClock};
use futures::{Stream, stream};
use tonic::Status;

use super::control::refused;

/// The bytes that were sent so far stand in no record. They are looked up in this node's memory this often; a bar that
/// moves five times a second looks smooth.
const GLANCE: Duration = Duration::from_millis(200);

/// The operation, which was read at this revision, and each change of it until its end.
pub(super) fn updates(
    control: Control,
    operation: Operation,
    since: Revision,
) -> impl Stream<Item = Result<v1::OperationUpdate, Status>> + Send {
    let followed = control.followed();
    let watch =
        Watch { control, followed, since, operation, sending: None, first: true, over: false };
    stream::unfold(watch, |mut watch| async {
        let update = watch.next().await?;
        Some((update, watch))
    })
}

struct Watch {
    control: Control,
    followed: Followed,
    /// What comes through may be older than what was read at first.
    since: Revision,
    /// As it was told last.
    operation: Operation,
    sending: Option<u64>,
    first: bool,
    over: bool,
}

impl Watch {
    async fn next(&mut self) -> Option<Result<v1::OperationUpdate, Status>> {
        while !self.over {
            match self.look().await {
                Ok(true) => {
                    self.over = self.operation.state.is_final();
                    return Some(Ok(self.update()));
                }
                Ok(false) => {}
                Err(status) => {
                    self.over = true;
                    return Some(Err(status));
                }
            }
            tokio::select! {
                // Nobody follows the records any more: the daemon ends, and whoever watches asks again.
                changed = self.followed.changed() => changed.ok()?,
                () = tokio::time::sleep(GLANCE) => {}
            }
        }
        None
    }

    /// Whether there is news.
    async fn look(&mut self) -> Result<bool, Status> {
        let known = {
            let state = self.followed.borrow_and_update();
            let caught_up = state.as_ref().filter(|state| state.revision >= self.since);
            caught_up.map(|state| state.operations.get(&self.operation.id).cloned())
        };
        let operation = match known {
            None => self.operation.clone(),
            Some(Some(operation)) => operation,
            // Forgotten, or it cannot be read any more.
            Some(None) => self.control.operation(&self.operation.id).await.map_err(refused)?,
        };
        let sending = sending(&self.control, &operation);
        let news = self.first || operation != self.operation || sending != self.sending;
        (self.operation, self.sending, self.first) = (operation, sending, false);
        Ok(news)
    }

    fn update(&self) -> v1::OperationUpdate {
        v1::OperationUpdate {
            operation: Some((&self.operation).into()),
            sending: self.sending,
            now_ms: SystemClock.now().0,
        }
    }
}

/// The bytes that an operation is sending at the moment.
fn sending(control: &Control, operation: &Operation) -> Option<u64> {
    let source = match &operation.kind {
        OperationKind::Move { source, .. } => source,
        OperationKind::Deploy { .. }
        | OperationKind::Update { .. }
        | OperationKind::Remove { .. } => return None,
    };
    let sending = control.seen(source)?.observation.sending;
    sending.iter().find(|(of, _)| *of == operation.id).map(|(_, bytes)| bytes.0)
}
