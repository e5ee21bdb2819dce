//! A client's connection from its acceptance to its end: find the owner, hold while there is none, relay.

use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use flocker_model::NodeName;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, Interest},
    net::TcpStream,
    select,
    sync::OwnedSemaphorePermit,
    time::{Instant, sleep, sleep_until, timeout},
};
use tracing::debug;

use crate::{
    core::Core,
    relay::{End, Relay},
    routing::{Hold, Hop, Lead, Stay},
    service::{Flow, Service},
    socket,
    wire::{ANSWER_LENGTH, Answer, Header, WireError},
};

/// One client's connection to one service.
#[derive(Debug)]
pub(crate) struct Visit {
    core: Arc<Core>,
    service: Arc<Service>,
    stream: TcpStream,
    client: SocketAddr,
    listener: SocketAddr,
    _permit: OwnedSemaphorePermit,
}

/// Why a connection has to wait.
#[derive(Debug, thiserror::Error)]
enum Setback {
    #[error("{0}")]
    Hold(Hold),
    #[error("the route changed meanwhile")]
    Changed,
    #[error("could not connect to {hop}: {source}")]
    Connect { hop: HopName, source: io::Error },
    #[error("node `{node}` did not answer: {source}")]
    NoAnswer { node: NodeName, source: io::Error },
    #[error("node `{node}` does not speak our protocol: {source}")]
    Foreign { node: NodeName, source: WireError },
    #[error("node `{node}` says that the app is not there under this epoch")]
    Moved { node: NodeName },
    #[error("node `{node}` says that the app does not answer")]
    Unavailable { node: NodeName },
}

/// A hop as people know it.
#[derive(Debug)]
struct HopName(Lead);

impl fmt::Display for HopName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.hop {
            Hop::Container(address) => write!(f, "the container at {address}"),
            Hop::Mesh(address) => write!(f, "node `{}` at {address}", self.0.node),
        }
    }
}

/// One attempt to find the app.
enum Attempt {
    Through(Flow, TcpStream),
    Failed(Setback),
    Refused(String),
}

/// How the search for the app ended without having found it.
enum Lost {
    Refused(String),
    ClientLeft,
}

impl Visit {
    /// Takes an accepted connection; an error means that it is gone already.
    pub(crate) fn new(
        core: Arc<Core>,
        service: Arc<Service>,
        stream: TcpStream,
        permit: OwnedSemaphorePermit,
    ) -> io::Result<Self> {
        socket::tune(&stream)?;
        let (client, listener) = (stream.peer_addr()?, stream.local_addr()?);
        service.counters.connections.add(1);
        Ok(Self { core, service, stream, client, listener, _permit: permit })
    }

    /// Sees to the connection until it has ended.
    pub(crate) async fn run(self) {
        loop {
            let (flow, backend) = match self.find().await {
                Ok(found) => found,
                Err(Lost::Refused(why)) => return self.refuse(&why),
                Err(Lost::ClientLeft) => return self.service.counters.left.add(1),
            };
            match self.relay(&flow, &backend).await {
                // The client has noticed nothing, so it need not notice anything now.
                End::Untouched => {}
                End::Finished => return,
                End::Quiesced => {
                    drop(backend);
                    drop(flow);
                    self.service.counters.quiesced.add(1);
                    return self.part().await;
                }
                End::Cut => {
                    self.service.counters.cut.add(1);
                    return self.reset(backend);
                }
                End::Broken(error) => {
                    debug!(service = %self.service.key, client = %self.client, %error, "connection broken");
                    return self.reset(backend);
                }
            }
        }
    }

    async fn relay(&self, flow: &Flow, backend: &TcpStream) -> End {
        let counters = &self.service.counters;
        let _active = counters.active.count();
        let relay = Relay::new(&self.stream, backend, &counters.clients, &self.core.limits);
        relay.run(flow.disturbed(), flow.cut()).await
    }

    /// Who is at one end of a connection that broke shall not take what came of it for all.
    fn reset(self, backend: TcpStream) {
        socket::reset(backend);
        socket::reset(self.stream);
    }

    async fn part(self) {
        socket::part(self.stream, self.core.limits.linger_max).await;
    }

    fn refuse(self, why: &str) {
        self.service.counters.refused.add(1);
        self.service.warn_of_refusal(self.client, why);
        socket::reset(self.stream);
    }

    /// Finds the app, and holds the connection for as long as that takes and is allowed.
    async fn find(&self) -> Result<(Flow, TcpStream), Lost> {
        let deadline = Instant::now() + self.core.limits.hold_max;
        let mut setback = match self.attempt().await {
            Attempt::Through(flow, backend) => return Ok((flow, backend)),
            Attempt::Refused(why) => return Err(Lost::Refused(why)),
            Attempt::Failed(setback) => setback,
        };
        let Some(_held) = self.core.hold(&self.service) else {
            return Err(Lost::Refused(format!(
                "too many connections are held already ({setback})"
            )));
        };
        // Those who wait longest hold the turns, so the others need not wake when a route changes: they queue here, and
        // are let through as fast as the app takes them.
        let _turn = select! {
            turn = self.service.turns.acquire() => turn,
            lost = self.waited_in_vain(deadline) => return Err(lost.because(&setback)),
        };
        let mut pause = self.core.limits.retry_first;
        loop {
            let mut changed = self.service.watch();
            setback = match self.attempt().await {
                Attempt::Through(flow, backend) => return Ok((flow, backend)),
                Attempt::Refused(why) => return Err(Lost::Refused(why)),
                Attempt::Failed(setback) => setback,
            };
            select! {
                _ = changed.changed() => pause = self.core.limits.retry_first,
                () = sleep(setback.pause(pause)) => pause = (pause * 2).min(self.core.limits.retry_max),
                lost = self.waited_in_vain(deadline) => return Err(lost.because(&setback)),
            }
        }
    }

    async fn attempt(&self) -> Attempt {
        let core = &self.core;
        let entered =
            self.service.enter(core, |view| view.lead(core.now(), core.limits.clock_skew_max));
        let setback = match entered {
            Ok(flow) => {
                let reached = select! {
                    biased;
                    _ = flow.disturbed() => Err(Setback::Changed),
                    reached = self.reach(&flow.lead) => reached,
                };
                match reached {
                    Ok(backend) => return Attempt::Through(flow, backend),
                    Err(setback) => setback,
                }
            }
            Err(Stay::Hold(hold)) => return Attempt::Failed(Setback::Hold(hold)),
            Err(Stay::Refuse(refusal)) => return Attempt::Refused(refusal.to_string()),
        };
        self.service.counters.retries.add(1);
        if matches!(setback, Setback::Moved { .. }) {
            self.service.counters.moved.add(1);
        }
        debug!(service = %self.service.key, client = %self.client, %setback, "attempt failed");
        Attempt::Failed(setback)
    }

    /// Connects to where the lead points. Reads nothing from the client.
    async fn reach(&self, lead: &Lead) -> Result<TcpStream, Setback> {
        let limits = &self.core.limits;
        let (address, most) = match lead.hop {
            Hop::Container(address) => (address, limits.connect_container_max),
            Hop::Mesh(address) => (address, limits.connect_max),
        };
        let mut backend = socket::connect(address, most)
            .await
            .map_err(|source| Setback::Connect { hop: HopName(lead.clone()), source })?;
        match lead.hop {
            Hop::Container(_) => {}
            Hop::Mesh(_) => self.hand_over(&mut backend, lead).await?,
        }
        Ok(backend)
    }

    /// Tells the owner's proxy what it gets, and returns when it has taken it.
    async fn hand_over(&self, mesh: &mut TcpStream, lead: &Lead) -> Result<(), Setback> {
        let header = Header {
            client: self.client,
            listener: self.listener,
            service: self.service.key.clone(),
            epoch: lead.epoch,
        };
        let conversation = async {
            mesh.write_all(&header.encode()).await?;
            let mut answer = [0; ANSWER_LENGTH];
            mesh.read_exact(&mut answer).await?;
            io::Result::Ok(answer)
        };
        let node = || lead.node.clone();
        let answer = timeout(self.core.limits.answer_max, conversation)
            .await
            .map_err(io::Error::from)
            .flatten()
            .map_err(|source| Setback::NoAnswer { node: node(), source })?;
        match Answer::decode(answer).map_err(|source| Setback::Foreign { node: node(), source })? {
            Answer::Ok => Ok(()),
            Answer::Moved => Err(Setback::Moved { node: node() }),
            Answer::Unavailable => Err(Setback::Unavailable { node: node() }),
        }
    }

    /// Returns when holding the connection any longer is no use.
    async fn waited_in_vain(&self, deadline: Instant) -> Lost {
        select! {
            () = sleep_until(deadline) => Lost::Refused(format!("held for {:?}", self.core.limits.hold_max)),
            // A reset. An end of the stream would not show here, and need not: who has sent all may wait for the answer.
            _ = self.stream.ready(Interest::ERROR) => Lost::ClientLeft,
            () = self.core.stop.cancelled() => Lost::Refused("the proxy is being stopped".to_owned()),
        }
    }
}

impl Setback {
    /// How long to wait if nothing changes: `next`, unless it is known that only a change or so much time can help.
    fn pause(&self, next: Duration) -> Duration {
        match self {
            Self::Hold(Hold::Parked { left, .. }) => *left,
            Self::Hold(Hold::NotServed | Hold::NoMesh { .. }) => Duration::MAX,
            Self::Changed => Duration::ZERO,
            Self::Connect { .. }
            | Self::NoAnswer { .. }
            | Self::Foreign { .. }
            | Self::Moved { .. }
            | Self::Unavailable { .. } => next,
        }
    }
}

impl Lost {
    fn because(self, setback: &Setback) -> Self {
        match self {
            Self::Refused(why) => Self::Refused(format!("{why}: {setback}")),
            Self::ClientLeft => Self::ClientLeft,
        }
    }
}

#[cfg(test)]
mod tests {
    use flocker_model::{AppName, ServiceKey, ServiceName};
    use tokio::net::TcpListener;

    use super::*;
    use crate::limits::Limits;

    #[tokio::test]
    async fn an_idle_connection_costs_little_memory() {
        let node = NodeName::new("a").unwrap();
        let core = Arc::new(Core::new(node, [].into(), Limits::default()));
        let key = ServiceKey {
            app: AppName::new("shop").unwrap(),
            service: ServiceName::new("redis").unwrap(),
        };
        let service = core.introduce(&key);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let permit = Arc::clone(&core.connections).acquire_owned().await.unwrap();

        let visit = Visit::new(core, service, stream, permit).unwrap();

        // Ten thousand of them: 30 MB. What the kernel needs for two sockets is more.
        assert!(size_of_val(&visit.run()) <= 3 << 10);
    }
}
