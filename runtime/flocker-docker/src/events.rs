//! What happens to containers of this node, across restarts of Docker.

use std::{
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bollard::{errors::Error, models::EventMessage, query_parameters::EventsOptions};
use flocker_model::NodeName;
use flocker_ports::{ContainerEvent, ContainerId};
use futures::{Stream, StreamExt, stream};
use tokio::sync::mpsc;

use crate::{connection::Connection, labels};

/// Pauses between two attempts to reach a Docker that does not answer.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

type Messages = Pin<Box<dyn Stream<Item = Result<EventMessage, Error>> + Send>>;

/// Events that wait for a slow listener, before Docker is made to wait.
const QUEUE: usize = 64;

/// Endless: goes on when Docker does. Begins with a resync, for nothing is heard before the stream is first polled; from
/// then on a task listens, so a restart of Docker is noticed also while nobody polls.
pub(crate) fn events(
    connection: Arc<Connection>,
    node: NodeName,
) -> Pin<Box<dyn Stream<Item = ContainerEvent> + Send>> {
    let begin = async move {
        let (sender, mut receiver) = mpsc::channel(QUEUE);
        let subscription =
            Subscription { connection, node, messages: None, missed: true, pause: Duration::ZERO };
        tokio::spawn(listen(subscription, sender));
        stream::poll_fn(move |context| receiver.poll_recv(context))
    };
    Box::pin(stream::once(begin).flatten())
}

/// Ends when nobody wants to hear any more.
async fn listen(mut subscription: Subscription, sender: mpsc::Sender<ContainerEvent>) {
    loop {
        tokio::select! {
            () = sender.closed() => return,
            event = subscription.next() => {
                if sender.send(event).await.is_err() {
                    return;
                }
            }
        }
    }
}

struct Subscription {
    connection: Arc<Connection>,
    node: NodeName,
    messages: Option<Messages>,
    /// Whether some may have been forgotten.
    missed: bool,
    pause: Duration,
}

impl Subscription {
    async fn next(&mut self) -> ContainerEvent {
        loop {
            let Some(messages) = &mut self.messages else {
                self.subscribe().await;
                if std::mem::take(&mut self.missed) {
                    return ContainerEvent::Resync;
                }
                continue;
            };
            match messages.next().await {
                Some(Ok(message)) => {
                    if let Some(id) = message.actor.and_then(|actor| actor.id) {
                        return ContainerEvent::Ended(ContainerId(id));
                    }
                }
                Some(Err(error)) => {
                    tracing::info!(reason = %self.connection.error("listen to Docker's events", error), "reconnecting");
                    self.lost();
                }
                None => self.lost(),
            }
        }
    }

    fn lost(&mut self) {
        self.messages = None;
        self.missed = true;
    }

    /// Returns when Docker answers. Docker remembers its last events and is asked for those since a moment before, so
    /// nothing falls between a resync and what follows it.
    async fn subscribe(&mut self) {
        loop {
            tokio::time::sleep(self.pause).await;
            let since = now();
            let ready = async {
                let docker = self.connection.docker().await?;
                docker.ping().await.map_err(|error| self.connection.error("ping Docker", error))?;
                Ok::<_, flocker_ports::EngineError>(docker)
            };
            match ready.await {
                Ok(docker) => {
                    self.messages = Some(Box::pin(docker.events(Some(self.options(since)))));
                    // Should this one break at once, the next attempt must not be immediate.
                    self.pause = PAUSE_MIN;
                    return;
                }
                Err(_) => {
                    self.missed = true;
                    self.pause = (self.pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
                }
            }
        }
    }

    fn options(&self, since: Duration) -> EventsOptions {
        let mut filters = labels::filter(&self.node);
        filters.insert("type".to_owned(), vec!["container".to_owned()]);
        filters.insert("event".to_owned(), vec!["die".to_owned()]);
        let since = format!("{}.{:09}", since.as_secs(), since.subsec_nanos());
        EventsOptions { since: Some(since), filters: Some(filters), ..EventsOptions::default() }
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
