//! A watch: a place in the log. It keeps one page of changes and nothing more, however far behind its reader is.

use std::{collections::VecDeque, sync::Arc};

use flocker_model::Revision;
use flocker_ports::{StoreChange, StoreError, WatchStream};
use futures::stream;
use tokio::sync::watch;

use super::Shared;

struct Watch {
    shared: Arc<Shared>,
    newest: watch::Receiver<Revision>,
    prefix: String,
    /// The revision to be read next.
    next: u64,
    page: VecDeque<StoreChange>,
}

/// The changes after `after` under the prefix.
pub(super) fn stream(
    shared: Arc<Shared>,
    newest: watch::Receiver<Revision>,
    prefix: String,
    after: Revision,
) -> WatchStream {
    let watch = Watch { shared, newest, prefix, next: after.0 + 1, page: VecDeque::new() };
    Box::pin(stream::unfold(Some(watch), |watch| async {
        let mut watch = watch?;
        match watch.next().await {
            Ok(change) => Some((Ok(change), Some(watch))),
            Err(error) => Some((Err(error), None)),
        }
    }))
}

impl Watch {
    async fn next(&mut self) -> Result<StoreChange, StoreError> {
        loop {
            if let Some(change) = self.page.pop_front() {
                return Ok(change);
            }
            while self.newest.borrow_and_update().0 < self.next {
                self.newest.changed().await.map_err(|_| self.shared.closed())?;
            }
            let (prefix, next) = (self.prefix.clone(), self.next);
            let (page, next) =
                self.shared.read(move |reader| reader.changes(&prefix, next)).await?;
            self.page = page.into();
            self.next = next;
        }
    }
}
