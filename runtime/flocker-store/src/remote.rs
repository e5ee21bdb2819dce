//! The store of another node. Lost connections are its business: it sends again under the same request id, and goes on
//! watching where it stopped.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use flocker_api::store as wire;
use flocker_model::Revision;
use flocker_ports::{Entry, Listing, Store, StoreChange, StoreError, Transaction, WatchStream};
use futures::{StreamExt, stream};
use tokio::time::{Instant, sleep, timeout};
use tonic::{
    Code, Request, Status, Streaming,
    transport::{Channel, Endpoint},
};
use wire::store_client::StoreClient;

use crate::{
    convert::{change_from_wire, entry_from_wire, error_from_status, transaction_to_wire},
    serve::MESSAGE_BYTES_MAX,
};

/// How long one attempt may take. A sync of a busy disk takes a second at worst.
const ATTEMPT: Duration = Duration::from_secs(5);
/// How long a call is tried again. Long enough for the other node's daemon to be restarted, and far below the time for
/// which request ids are remembered.
const PATIENCE: Duration = Duration::from_secs(15);
/// The pause after the first lost connection; it doubles.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// The longest pause: a node that comes back is found within this time.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// A connection to a node that serves its store, made when it is first used, with the limits that this crate relies on.
///
/// # Errors
/// [`StoreError::Unreachable`] when `address` is not of the form `HOST:PORT`.
pub fn endpoint(address: &str) -> Result<Endpoint, StoreError> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|error| {
        StoreError::Unreachable {
            address: address.to_owned(),
            reason: format!("the address is not of the form `HOST:PORT`: {error}"),
        }
    })?;
    Ok(endpoint
        .connect_timeout(Duration::from_secs(3))
        .tcp_nodelay(true)
        // A peer that lost its power says nothing; a watch would wait for ever.
        .http2_keep_alive_interval(Duration::from_secs(5))
        .keep_alive_timeout(Duration::from_secs(5))
        .keep_alive_while_idle(true)
        // What a slow watcher leaves unread counts against its own window and the connection's. The latter is so much
        // larger that a hundred of them do not keep a commit from being answered.
        .initial_stream_window_size(64 * 1024)
        .initial_connection_window_size(16 * 1024 * 1024))
}

/// The store of another node. Cheap to clone.
#[derive(Clone)]
pub struct RemoteStore {
    address: String,
    client: StoreClient<Channel>,
    patience: Duration,
}

impl fmt::Debug for RemoteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteStore").field("address", &self.address).finish_non_exhaustive()
    }
}

impl RemoteStore {
    /// The store at the other end of a channel, best one of [`endpoint`]. `address` is what errors call it.
    #[must_use]
    pub fn new(address: &str, channel: Channel) -> Self {
        let client = StoreClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        Self { address: address.to_owned(), client, patience: PATIENCE }
    }

    /// The store of the node that listens at `address`. Connects when it is first used.
    ///
    /// # Errors
    /// [`StoreError::Unreachable`] when `address` is not of the form `HOST:PORT`.
    pub fn connect_lazy(address: &str) -> Result<Self, StoreError> {
        Ok(Self::new(address, endpoint(address)?.connect_lazy()))
    }

    /// The same, whose calls give up after another time. It must stay below the time for which request ids are
    /// remembered: minutes.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Calls until there is an answer of the store, or patience is at its end.
    async fn call<T, F>(&self, attempt: impl Fn(StoreClient<Channel>) -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let give_up = Instant::now() + self.patience;
        let mut pause = PAUSE_MIN;
        loop {
            let answer = match timeout(ATTEMPT, attempt(self.client.clone())).await {
                Ok(answer) => answer,
                Err(_) => Err(Status::deadline_exceeded(format!("no answer within {ATTEMPT:?}"))),
            };
            let status = match answer {
                Ok(value) => return Ok(value),
                Err(status) => status,
            };
            match self.verdict(&status) {
                Verdict::Final(error) => return Err(error),
                Verdict::Again(error) if Instant::now() + pause >= give_up => return Err(error),
                Verdict::Again(_) => {}
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// What to make of a status.
    fn verdict(&self, status: &Status) -> Verdict {
        match error_from_status(status) {
            // A store that is being closed there, and may be opened again.
            Some(error @ StoreError::Unreachable { .. }) => return Verdict::Again(error),
            Some(error) => return Verdict::Final(error),
            None => {}
        }
        match status.code() {
            // The connection's, or a server's on its way down. Whether the call was made is open; that is what request
            // ids are for.
            Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Cancelled
            | Code::Unknown
            | Code::Internal
            | Code::Aborted
            | Code::DataLoss
            | Code::ResourceExhausted => Verdict::Again(StoreError::Unreachable {
                address: self.address.clone(),
                reason: reason(status),
            }),
            // What is there is not a store of ours, or does not want us.
            Code::Ok
            | Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::Unauthenticated => Verdict::Final(StoreError::Failed {
                action: format!("could not use the cluster store at `{}`", self.address),
                reason: reason(status),
            }),
        }
    }

    async fn open_watch(
        &self,
        prefix: &str,
        after: u64,
    ) -> Result<Streaming<wire::Change>, StoreError> {
        let request = wire::WatchRequest { prefix: prefix.to_owned(), after };
        self.call(|mut client| {
            let request = request.clone();
            async move { Ok(client.watch(request).await?.into_inner()) }
        })
        .await
    }
}

/// Whether to try again.
enum Verdict {
    Final(StoreError),
    Again(StoreError),
}

/// What the status says, and what its causes say: "transport error" alone helps nobody.
fn reason(status: &Status) -> String {
    let mut reason = status.message().to_owned();
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        let text = error.to_string();
        if !reason.contains(&text) {
            reason = format!("{reason}: {text}");
        }
        cause = error.source();
    }
    reason
}

#[async_trait]
impl Store for RemoteStore {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        self.call(|mut client| async move {
            let request = within_attempt(wire::GetRequest { key: key.to_owned() });
            Ok(client.get(request).await?.into_inner().entry.map(entry_from_wire))
        })
        .await
    }

    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        self.call(|mut client| async move {
            let request = within_attempt(wire::ListRequest { prefix: prefix.to_owned() });
            let mut pages = client.list(request).await?.into_inner();
            let mut listing = None;
            while let Some(page) = pages.message().await? {
                let whole = listing.get_or_insert_with(|| Listing {
                    entries: Vec::new(),
                    revision: Revision(page.revision),
                });
                whole.entries.extend(page.entries.into_iter().map(entry_from_wire));
            }
            // Absence is never concluded from silence.
            listing.ok_or_else(|| Status::unavailable("the list ended before it began"))
        })
        .await
    }

    async fn commit(&self, transaction: Transaction) -> Result<Revision, StoreError> {
        transaction.validate()?;
        self.call(|mut client| {
            let request = within_attempt(transaction_to_wire(&transaction));
            async move { Ok(Revision(client.commit(request).await?.into_inner().revision)) }
        })
        .await
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<WatchStream, StoreError> {
        let open = self.open_watch(prefix, after.0).await?;
        let watch = Watch {
            store: self.clone(),
            prefix: prefix.to_owned(),
            open: Some(open),
            last: after,
            n_last: 0,
            skip: 0,
        };
        Ok(Box::pin(stream::unfold(Some(watch), |watch| async {
            let mut watch = watch?;
            match watch.next().await {
                Ok(change) => Some((Ok(change), Some(watch))),
                Err(error) => Some((Err(error), None)),
            }
        })))
    }
}

/// The server gives up when nobody waits for the answer any more.
fn within_attempt<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(ATTEMPT);
    request
}

/// A watch over connections that come and go.
struct Watch {
    store: RemoteStore,
    prefix: String,
    open: Option<Streaming<wire::Change>>,
    /// The revision of the last change that was handed out, or where the watch began.
    last: Revision,
    /// How many changes of that revision were handed out: a connection may break within a transaction.
    n_last: usize,
    /// How many changes of that revision the new connection will show again.
    skip: usize,
}

impl Watch {
    async fn next(&mut self) -> Result<StoreChange, StoreError> {
        loop {
            let Some(open) = &mut self.open else {
                self.reopen().await?;
                continue;
            };
            match open.next().await {
                Some(Ok(change)) => {
                    let change = change_from_wire(change);
                    if change.revision == self.last && self.skip > 0 {
                        self.skip -= 1;
                        continue;
                    }
                    if change.revision == self.last {
                        self.n_last += 1;
                    } else {
                        (self.last, self.n_last) = (change.revision, 1);
                    }
                    return Ok(change);
                }
                Some(Err(status)) => {
                    self.open = None;
                    match self.store.verdict(&status) {
                        Verdict::Again(_) => {}
                        Verdict::Final(error) => return Err(error),
                    }
                }
                None => self.open = None,
            }
        }
    }

    /// Watches again from where the last connection broke. A node that is away is waited for without an end: who watches
    /// has nothing better to do, and calls tell that the store is away.
    async fn reopen(&mut self) -> Result<(), StoreError> {
        // A server that accepts watches and breaks them at once is not to be kept busy with it.
        sleep(PAUSE_MIN).await;
        // The transaction that was being shown is shown again from its start, and what was handed out is skipped.
        let (after, skip) = match self.n_last {
            0 => (self.last.0, 0),
            n => (self.last.0 - 1, n),
        };
        match self.store.open_watch(&self.prefix, after).await {
            Ok(open) => {
                (self.open, self.skip) = (Some(open), skip);
                Ok(())
            }
            Err(StoreError::Unreachable { address, reason }) => {
                tracing::warn!(%address, %reason, prefix = %self.prefix, "the watch waits for the store");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
