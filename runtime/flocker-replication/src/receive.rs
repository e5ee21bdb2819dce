//! The receiving side: accepts connections and leads each stream into the backend.

use std::{io, sync::Arc, time::Duration};

use flocker_model::{Guid, NodeName, Snapshot};
use flocker_ports::{Backend, BackendError, Op, Receiver};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    frame::{FrameError, Side},
    link::{Incoming, LinkError, Outgoing, drain},
    slots::{Slots, Stale},
    tls::Trust,
    transport::{Accepted, Reader, Transport, Writer},
    wire::{Header, Message},
};

/// How long the sender may take to close after it was refused.
const FAREWELL: Duration = Duration::from_secs(2);

/// What a sender in the clear is told where that is not wanted.
const TLS_ONLY: &str = "it takes streams under TLS alone, and this one came in the clear\nhint: all nodes need the same `--streams`";

/// How long a stream of the same volume may take to let go. It is in one call to the storage at most.
const HANDOVER: Duration = Duration::from_secs(10);

/// How streams are received.
#[derive(Debug, Clone)]
pub struct ReceivingConfig {
    /// This node; a stream that is meant for another one is refused.
    pub node: NodeName,
    /// The other side is gone when it was silent for so long. Both sides give three signs of life in this time.
    pub idle: Duration,
    /// How long a connection may take to prove who it is and to say what it wants. A sender says so at once; whoever does
    /// not would keep a place from one that would.
    pub greeting: Duration,
    /// Streams at once. Each needs a megabyte or two of memory while it has much to receive; senders wait and try again.
    pub streams_max: usize,
    /// Connections at once, those included that have said nothing yet. Beyond it the kernel's queue holds them.
    pub connections_max: usize,
}

impl ReceivingConfig {
    /// What fits most nodes.
    #[must_use]
    pub fn new(node: NodeName) -> Self {
        Self {
            node,
            idle: Duration::from_secs(30),
            greeting: Duration::from_secs(5),
            streams_max: 128,
            connections_max: 256,
        }
    }
}

/// The receiving side of a node.
#[derive(Debug, Clone)]
pub struct Receiving {
    backend: Arc<dyn Backend>,
    transport: Transport,
    config: ReceivingConfig,
    slots: Slots,
    streams: Arc<Semaphore>,
}

impl Receiving {
    /// Receives streams into `backend` until `shutdown` is cancelled. A stream that is cut by it can be resumed.
    pub async fn serve(
        listener: TcpListener,
        backend: Arc<dyn Backend>,
        transport: Transport,
        config: ReceivingConfig,
        shutdown: CancellationToken,
    ) {
        let connections = Arc::new(Semaphore::new(config.connections_max));
        let streams = Arc::new(Semaphore::new(config.streams_max));
        let receiving = Self { backend, transport, config, slots: Slots::default(), streams };
        let mut tasks = JoinSet::new();
        loop {
            while tasks.try_join_next().is_some() {}
            let next = async {
                let permit = connections.clone().acquire_owned().await;
                (permit, listener.accept().await)
            };
            let (permit, accepted) = tokio::select! {
                next = next => next,
                () = shutdown.cancelled() => break,
            };
            match accepted {
                Ok((connection, peer)) => {
                    let (receiving, shutdown) = (receiving.clone(), shutdown.clone());
                    tasks.spawn(async move {
                        let _permit = permit;
                        if let Err(e) = receiving.connection(connection, &shutdown).await {
                            tracing::debug!(%peer, error = %e, "a replication connection ended early");
                        }
                    });
                }
                // Out of file descriptors, mostly. Trying again at once would only burn the CPU that could free some.
                Err(e) => {
                    tracing::warn!(error = %e, "could not accept a replication connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        // Every stream notices the shutdown when it next waits for the network.
        let _ = timeout(HANDOVER, async { while tasks.join_next().await.is_some() {} }).await;
    }

    async fn connection(
        &self,
        connection: TcpStream,
        shutdown: &CancellationToken,
    ) -> io::Result<()> {
        // Each frame is written whole; waiting for more to send would only delay the answers.
        connection.set_nodelay(true)?;
        let deadline = Instant::now() + self.config.greeting;
        let accepted = tokio::select! {
            accepted = timeout_at(deadline, self.transport.accept(connection)) => accepted?,
            () = shutdown.cancelled() => return Ok(()),
        };
        match accepted {
            Accepted::Stream { reader, writer, trust } => {
                let mut session = self.session(reader, writer, trust);
                tokio::select! {
                    result = session.first(deadline) => match result {
                        Ok(header) => session.stream(header, shutdown).await,
                        Err(error) => session.end_by(error).await,
                    },
                    () = shutdown.cancelled() => {}
                }
                Ok(())
            }
            Accepted::Clear { reader, writer } => {
                // Once both are told the same, the same stream is welcome.
                self.session(reader, writer, None).refuse(true, TLS_ONLY.to_owned()).await;
                Ok(())
            }
            Accepted::Failed { error, reader } => {
                drain(reader, FAREWELL).await;
                Err(error)
            }
        }
    }

    fn session(&self, reader: Reader, writer: Writer, trust: Option<Trust>) -> Session<'_> {
        let incoming = Incoming::new(reader, Side::Sender, self.config.idle);
        let outgoing = Outgoing::new(writer, Side::Receiver, self.config.idle);
        Session { receiving: self, incoming, outgoing, trust }
    }
}

/// One connection.
struct Session<'a> {
    receiving: &'a Receiving,
    incoming: Incoming<Reader>,
    outgoing: Outgoing<Writer>,
    /// Whose it is, where that was proved.
    trust: Option<Trust>,
}

/// What became of a stream.
enum Outcome {
    /// The snapshot is here.
    Arrived(Guid),
    /// It is not, and the sender is to be told.
    Refused { retry: bool, reason: String },
    /// Someone newer took the volume over, or the node stops. The sender finds out by the cut.
    Left,
}

impl From<Stale> for Outcome {
    fn from(Stale { current }: Stale) -> Self {
        Self::Refused {
            retry: false,
            reason: format!("the volume is being received under the newer epoch {current}"),
        }
    }
}

impl From<BackendError> for Outcome {
    fn from(error: BackendError) -> Self {
        let retry = match error {
            BackendError::Busy { .. } => true,
            BackendError::NoSuchVolume(_)
            | BackendError::NoSuchSnapshot { .. }
            | BackendError::StaleEpoch { .. }
            | BackendError::WrongRole { .. }
            | BackendError::Diverged { .. }
            | BackendError::PoolFull { .. }
            | BackendError::Unsupported { .. }
            | BackendError::CannotResume { .. }
            | BackendError::CorruptStream { .. }
            | BackendError::Failed { .. } => false,
        };
        Self::Refused { retry, reason: error.to_string() }
    }
}

impl Session<'_> {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "whatever else may come, now or in later versions, is not due here"
    )]
    async fn first(&mut self, deadline: Instant) -> Result<Header, LinkError> {
        let late = || LinkError::Idle(self.receiving.config.greeting);
        match timeout_at(deadline, self.incoming.next()).await.map_err(|_| late())?? {
            Message::Header(header) => Ok(*header),
            other => Err(LinkError::Unexpected { expected: "header", found: other.name() }),
        }
    }

    /// Receives one stream, answers, and closes.
    async fn stream(mut self, header: Header, shutdown: &CancellationToken) {
        match self.receive(&header, shutdown).await {
            Ok(Outcome::Arrived(guid)) => {
                tracing::debug!(volume = %header.volume, to = %header.to.tag, from = %header.source, "received");
                if self.outgoing.send(&Message::Done { guid }).await.is_ok() {
                    self.outgoing.close().await;
                }
            }
            Ok(Outcome::Refused { retry, reason }) => {
                tracing::info!(volume = %header.volume, from = %header.source, reason, "refused a stream");
                self.refuse(retry, reason).await;
            }
            Ok(Outcome::Left) => {}
            Err(error) => self.end_by(error).await,
        }
    }

    /// Tells the sender what is wrong, where it can be expected to understand.
    async fn end_by(self, error: LinkError) {
        tracing::debug!(%error, "a stream ended early");
        match &error {
            LinkError::Io(_) | LinkError::Closed | LinkError::Stuck(_) | LinkError::Idle(_) => {}
            // Whoever that is does not speak our language.
            LinkError::Frame(FrameError::Foreign) => {}
            LinkError::Frame(FrameError::Tls | FrameError::Version { .. }) => {
                self.refuse(false, error.to_string()).await
            }
            LinkError::Frame(_) | LinkError::Unexpected { .. } => {
                self.refuse(true, error.to_string()).await
            }
            LinkError::Backend(_) => self.refuse(false, error.to_string()).await,
        }
    }

    async fn refuse(mut self, retry: bool, reason: String) {
        if self.outgoing.send(&Message::Refuse { retry, reason }).await.is_ok() {
            self.outgoing.close().await;
            self.incoming.drain(FAREWELL).await;
        }
    }

    async fn receive(
        &mut self,
        header: &Header,
        shutdown: &CancellationToken,
    ) -> Result<Outcome, LinkError> {
        let config = &self.receiving.config;
        if let Some(stranger) = self.stranger(header) {
            return Ok(stranger);
        }
        if header.target != config.node {
            let reason = format!(
                "this is node `{}`, the stream is for node `{}`",
                config.node, header.target
            );
            return Ok(Outcome::Refused { retry: false, reason });
        }
        let Ok(_stream) = self.receiving.streams.try_acquire() else {
            let reason = format!("it receives {} streams already", config.streams_max);
            return Ok(Outcome::Refused { retry: true, reason });
        };
        let slot = match self.receiving.slots.take(&header.volume, header.epoch, shutdown) {
            Ok(slot) => slot,
            Err(stale) => return Ok(stale.into()),
        };
        let Ok(_work) = self.outgoing.alive_while(timeout(HANDOVER, slot.work())).await? else {
            let reason = format!("another stream of volume `{}` does not let go", header.volume);
            return Ok(Outcome::Refused { retry: true, reason });
        };
        match self.outgoing.alive_until(open(&*self.receiving.backend, header)).await? {
            Ok(Opened::Have(guid)) => {
                self.outgoing.send(&Message::Have { guid }).await?;
                self.outgoing.close().await;
                Ok(Outcome::Left)
            }
            Ok(Opened::Receive(receiver)) => self.chunks(header, receiver, &slot.leave).await,
            Err(error) => Ok(error.into()),
        }
    }

    /// What a sender is told whose key is not that of the node that it says it is, or is no longer.
    fn stranger(&self, header: &Header) -> Option<Outcome> {
        let is_stranger = self.trust.as_ref().is_some_and(|trust| !trust.is(&header.source));
        is_stranger.then(|| {
            let reason = format!("its key is not that of node `{}` in this cluster", header.source);
            Outcome::Refused { retry: false, reason }
        })
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "whatever else may come, now or in later versions, is not due here"
    )]
    /// From `Go` to the end of the stream. Dropping the receiver anywhere keeps what it holds for a later resume.
    async fn chunks(
        &mut self,
        header: &Header,
        mut receiver: Box<dyn Receiver>,
        leave: &CancellationToken,
    ) -> Result<Outcome, LinkError> {
        let backend = &*self.receiving.backend;
        let nonce = uuid::Uuid::new_v4().into_bytes();
        let mut resumed = receiver.resume_token().is_some();
        self.outgoing.send(&go(&*receiver, nonce)).await?;
        self.incoming.bind(header, &nonce);
        self.outgoing.bind(header, &nonce);
        let mut fresh = true;
        loop {
            let message = tokio::select! {
                message = self.incoming.next() => message?,
                () = leave.cancelled() => return Ok(Outcome::Left),
            };
            // A node that was removed in the meantime is refused from then on.
            if let Some(stranger) = self.stranger(header) {
                return Ok(stranger);
            }
            match message {
                Message::Chunk(bytes) => {
                    fresh = false;
                    let wrote = self.outgoing.alive_until(receiver.write(bytes)).await?;
                    if let Err(error) = wrote {
                        drop(receiver);
                        return self.poisoned(header, error, resumed).await;
                    }
                }
                Message::Restart if fresh && resumed => {
                    drop(receiver);
                    receiver = match self.outgoing.alive_until(restart(backend, header)).await? {
                        Ok(receiver) => receiver,
                        Err(error) => return Ok(error.into()),
                    };
                    resumed = false;
                    self.outgoing.send(&go(&*receiver, nonce)).await?;
                }
                Message::End { .. } => {
                    return match self.outgoing.alive_until(finish(receiver, header)).await? {
                        Ok(snapshot) => Ok(Outcome::Arrived(snapshot.point.guid)),
                        Err(error) => self.poisoned(header, error, resumed).await,
                    };
                }
                other => {
                    return Err(LinkError::Unexpected { expected: "chunk", found: other.name() });
                }
            }
        }
    }

    /// Bytes that were verified one by one and yet are not the snapshot: going on from them can never work, so they are
    /// thrown away. Where an earlier attempt had brought a part, that part may be to blame, and a fresh start may help.
    async fn poisoned(
        &mut self,
        header: &Header,
        error: BackendError,
        resumed: bool,
    ) -> Result<Outcome, LinkError> {
        if let BackendError::CorruptStream { .. } | BackendError::CannotResume { .. } = error {
            let op = op(header);
            let aborted = self.receiving.backend.abort_receive(&op, &header.volume);
            if let Err(e) = self.outgoing.alive_until(aborted).await? {
                tracing::warn!(volume = %header.volume, error = %e, "could not throw away a damaged receive");
            }
            return Ok(Outcome::Refused { retry: resumed, reason: error.to_string() });
        }
        Ok(error.into())
    }
}

fn op(header: &Header) -> Op {
    Op { id: header.operation.clone(), epoch: header.epoch }
}

fn go(receiver: &dyn Receiver, nonce: [u8; 16]) -> Message {
    Message::Go { nonce, resume: receiver.resume_token(), held: receiver.held().0 }
}

/// What the backend says to a header.
enum Opened {
    Have(Guid),
    Receive(Box<dyn Receiver>),
}

async fn open(backend: &dyn Backend, header: &Header) -> Result<Opened, BackendError> {
    let volume = &header.volume;
    // Each may take a program of the storage's; a small increment would notice if they waited for each other.
    let (state, snapshots) = tokio::join!(backend.stat(volume), backend.snapshots(volume));
    if let Some(state) = state? {
        if state.epoch > header.epoch {
            let (current, asked) = (state.epoch, header.epoch);
            return Err(BackendError::StaleEpoch { volume: volume.clone(), current, asked });
        }
        if snapshots?.iter().any(|s| s.point.guid == header.to.guid) {
            return Ok(Opened::Have(header.to.guid.clone()));
        }
    }
    match receive(backend, header).await {
        // The half is of another stream, or damaged. It is of no use to anybody.
        Err(BackendError::CannotResume { .. }) => {
            Ok(Opened::Receive(restart(backend, header).await?))
        }
        received => received.map(Opened::Receive),
    }
}

async fn receive(
    backend: &dyn Backend,
    header: &Header,
) -> Result<Box<dyn Receiver>, BackendError> {
    backend
        .receive(&op(header), &header.volume, header.base.as_ref(), &header.to, &header.options)
        .await
}

async fn restart(
    backend: &dyn Backend,
    header: &Header,
) -> Result<Box<dyn Receiver>, BackendError> {
    backend.abort_receive(&op(header), &header.volume).await?;
    receive(backend, header).await
}

/// The backend checks the GUID as well; a snapshot of another one must not be taken for what was announced.
async fn finish(receiver: Box<dyn Receiver>, header: &Header) -> Result<Snapshot, BackendError> {
    let snapshot = receiver.finish().await?;
    if snapshot.point.guid == header.to.guid {
        return Ok(snapshot);
    }
    let reason = format!("its GUID is {}, announced was {}", snapshot.point.guid, header.to.guid);
    Err(BackendError::CorruptStream { reason })
}
