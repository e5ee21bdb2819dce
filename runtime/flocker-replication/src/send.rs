//! The sending side: one snapshot to one node, tried again after a cut, from where it left off.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use flocker_model::{ByteSize, Guid, Transfer};
use flocker_ports::{
    Backend, BackendError, ByteStream, Clock as _, Progress, Replication, ReplicationError,
    ResumeToken, SendJob, SystemClock,
};
use futures::{FutureExt, StreamExt};
use tokio::{
    net::TcpStream,
    sync::Semaphore,
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::{
    frame::Side,
    link::{Incoming, LinkError, Outgoing},
    pace::Pace,
    squeeze::Squeezes,
    tls::Distrust,
    transport::{Reader, Transport, Writer},
    wire::{CHUNK_MAX, Header, Message},
};

/// How long to look for the receiver's last words after the connection broke under our hands.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How streams are sent.
#[derive(Debug, Clone)]
pub struct SenderConfig {
    /// How long a connection may take to be made. A lost SYN is sent again after one second.
    pub connect: Duration,
    /// How long both sides may take to prove who they are. Computing it takes a millisecond; a receiver with many
    /// connections answers late.
    pub handshake: Duration,
    /// The other side is gone when it was silent for so long. Both sides give three signs of life in this time.
    pub idle: Duration,
    /// Connections that are tried within one call.
    pub attempts: u32,
    /// The pause after the first that failed; each further one is twice as long.
    pub backoff: Duration,
    /// Streams at once from this node. Those of small increments wait for the storage's transactions most of the time, and
    /// beside each other they wait for the same one.
    pub streams_max: usize,
    /// Of these, how many may send more than [`SMALL`] at once; more would only fight for the disk.
    pub large_max: usize,
}

/// How much of a stream is sent before it has to wait for those that have as much behind them; in bytes.
const SMALL: u64 = 4 << 20;

impl Default for SenderConfig {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            handshake: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            attempts: 5,
            backoff: Duration::from_millis(100),
            streams_max: 64,
            large_max: 8,
        }
    }
}

/// Sends snapshots of one backend over TCP.
#[derive(Debug)]
pub struct Sender {
    backend: Arc<dyn Backend>,
    transport: Transport,
    config: SenderConfig,
    streams: Semaphore,
    large: Semaphore,
    pace: Pace,
    squeezes: Squeezes,
}

impl Sender {
    /// A sender of what `backend` holds.
    #[must_use]
    pub fn new(backend: Arc<dyn Backend>, transport: Transport, config: SenderConfig) -> Self {
        let (streams, large) =
            (Semaphore::new(config.streams_max), Semaphore::new(config.large_max));
        let (pace, squeezes) = (Pace::default(), Squeezes::default());
        Self { backend, transport, config, streams, large, pace, squeezes }
    }
}

#[async_trait]
impl Replication for Sender {
    async fn send(&self, job: &SendJob, progress: &Progress) -> Result<Transfer, ReplicationError> {
        let started = Instant::now();
        // It is never closed.
        let _permit = self.streams.acquire().await;
        let mut tally = Tally { progress, sent: 0, held: 0 };
        let mut pause = self.config.backoff;
        for attempt in 1.. {
            let (target, address) = (job.target.clone(), job.address);
            let error = match self.attempt(job, &mut tally).await {
                Ok(()) => break,
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Cut(reason)) => {
                    ReplicationError::Unreachable { target, address, reason }
                }
                // A node that announced its key a moment ago is not known everywhere yet.
                Err(Failure::Distrust(reason)) => {
                    let reason = reason.to_string();
                    ReplicationError::Untrusted { target, address, reason }
                }
            };
            tracing::debug!(volume = %job.volume, attempt, %error, "a stream was cut");
            if attempt >= self.config.attempts {
                return Err(error);
            }
            sleep(pause).await;
            pause *= 2;
        }
        let (bytes, resumed) = (ByteSize(tally.sent), ByteSize(tally.held));
        Ok(Transfer { bytes, resumed, took: started.elapsed() })
    }
}

/// What crossed so far, over all attempts.
struct Tally<'a> {
    progress: &'a Progress,
    sent: u64,
    /// What the receiver held when the last attempt began.
    held: u64,
}

/// Why an attempt failed.
enum Failure {
    /// The next one may work.
    Cut(String),
    /// So may this, but the network is not to blame.
    Distrust(Distrust),
    /// None will.
    Final(ReplicationError),
}

impl From<LinkError> for Failure {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Backend(error) => Self::Final(error.into()),
            LinkError::Io(error) => Distrust::of(&error)
                .map_or_else(|| Self::Cut(LinkError::Io(error).to_string()), Self::Distrust),
            LinkError::Closed
            | LinkError::Idle(_)
            | LinkError::Stuck(_)
            | LinkError::Frame(_)
            | LinkError::Unexpected { .. } => Self::Cut(error.to_string()),
        }
    }
}

impl Sender {
    async fn attempt(&self, job: &SendJob, tally: &mut Tally<'_>) -> Result<(), Failure> {
        let towards = self.transport.towards(&job.target).map_err(Failure::Distrust)?;
        let connection = timeout(self.config.connect, TcpStream::connect(job.address))
            .await
            .map_err(|_| Failure::Cut(format!("no connection within {:?}", self.config.connect)))?
            .map_err(|e| Failure::Cut(e.to_string()))?;
        // Frames are written whole; waiting for more to send would cost the final delta of a move its speed.
        connection.set_nodelay(true).map_err(LinkError::from)?;
        let limit = self.config.handshake;
        let secured = timeout(limit, towards.secure(connection)).await;
        let (reader, writer) = secured
            .map_err(|_| Failure::Cut(format!("it did not prove who it is within {limit:?}")))?
            .map_err(LinkError::from)?;
        let mut stream = Outbound {
            backend: &*self.backend,
            job,
            sender: self,
            tally,
            incoming: Incoming::new(reader, Side::Receiver, self.config.idle),
            outgoing: Outgoing::new(writer, Side::Sender, self.config.idle),
        };
        stream.run().await
    }
}

/// One connection.
struct Outbound<'a, 'p> {
    backend: &'a dyn Backend,
    job: &'a SendJob,
    sender: &'a Sender,
    tally: &'a mut Tally<'p>,
    incoming: Incoming<Reader>,
    outgoing: Outgoing<Writer>,
}

impl Outbound<'_, '_> {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "whatever else may come, now or in later versions, is not due here"
    )]
    async fn run(&mut self) -> Result<(), Failure> {
        let header = header(self.job);
        self.outgoing.send(&Message::Header(Box::new(header.clone()))).await?;
        let resume = match self.incoming.next().await? {
            Message::Have { guid } => return self.compare(&guid),
            Message::Go { nonce, resume, held } => {
                self.incoming.bind(&header, &nonce);
                self.outgoing.bind(&header, &nonce);
                self.tally.held = held;
                resume
            }
            other => return Err(self.answer(other)),
        };
        let bytes = self.open(resume).await?;
        // The receiver may have something to say at any time: that its pool is full, that someone newer came.
        let answered = {
            let Self { incoming, outgoing, tally, job, sender, .. } = self;
            let mut answer = std::pin::pin!(incoming.next());
            tokio::select! {
                early = &mut answer => match early {
                    // It cannot have everything before it was told the end.
                    Ok(Message::Done { .. }) => Err(LinkError::Unexpected { expected: "refuse", found: "done" }),
                    early => early,
                },
                sent = send_all(bytes, outgoing, tally, (*sender, *job)) => match sent {
                    Ok(()) => answer.await,
                    Err(e @ LinkError::Backend(_)) => Err(e),
                    Err(e) => timeout(LAST_WORDS, answer).await.ok().and_then(Result::ok).ok_or(e),
                },
            }
        };
        match answered? {
            Message::Done { guid } => self.compare(&guid),
            other => Err(self.answer(other)),
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "whatever else may come, now or in later versions, is not due here"
    )]
    /// The backend's stream, from where the receiver is or, where that cannot be, from the beginning.
    async fn open(&mut self, resume: Option<ResumeToken>) -> Result<ByteStream, Failure> {
        let (backend, job) = (self.backend, self.job);
        let send = |resume| backend.send(&job.volume, job.base.as_ref(), &job.to, resume);
        match self.outgoing.alive_while(send(resume.as_ref())).await? {
            Err(BackendError::CannotResume { reason }) if resume.is_some() => {
                tracing::info!(volume = %job.volume, reason, "a stream begins again, it cannot be resumed");
            }
            opened => return opened.map_err(|e| Failure::Final(e.into())),
        }
        self.outgoing.send(&Message::Restart).await?;
        match self.incoming.next().await? {
            Message::Go { resume: None, .. } => self.tally.held = 0,
            other => return Err(self.answer(other)),
        }
        self.outgoing.alive_while(send(None)).await?.map_err(|e| Failure::Final(e.into()))
    }

    fn compare(&self, guid: &Guid) -> Result<(), Failure> {
        if *guid == self.job.to.guid {
            return Ok(());
        }
        let reason = format!("it confirmed the GUID {guid}, sent was {}", self.job.to.guid);
        Err(Failure::Final(ReplicationError::Refused { target: self.job.target.clone(), reason }))
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "whatever else may come, now or in later versions, is not due here"
    )]
    /// What an answer means that is not the one hoped for.
    fn answer(&self, message: Message) -> Failure {
        match message {
            Message::Refuse { retry: true, reason } => Failure::Cut(reason),
            Message::Refuse { retry: false, reason } => Failure::Final(ReplicationError::Refused {
                target: self.job.target.clone(),
                reason,
            }),
            other => Failure::Cut(format!("it answered `{}`, which was not due", other.name())),
        }
    }
}

fn header(job: &SendJob) -> Header {
    Header {
        operation: job.operation.clone(),
        volume: job.volume.clone(),
        epoch: job.epoch,
        base: job.base.clone(),
        to: job.to.clone(),
        options: job.options.clone(),
        source: job.source.clone(),
        target: job.target.clone(),
    }
}

async fn send_all(
    bytes: ByteStream,
    outgoing: &mut Outgoing<Writer>,
    tally: &mut Tally<'_>,
    (sender, job): (&Sender, &SendJob),
) -> Result<(), LinkError> {
    let mut chunks = Chunks { bytes, rest: BytesMut::new(), whole: Bytes::new(), ended: false };
    let (mut sent, mut large) = (0, None);
    while let Some(chunk) = outgoing.alive_while(chunks.next()).await?? {
        if large.is_none() && sent > SMALL {
            // It is never closed.
            large = outgoing.alive_while(sender.large.acquire()).await?.ok();
        }
        let message = sender.squeezes.of(&job.target, |squeeze| squeeze.pack(chunk));
        let length = message.load();
        let began = Instant::now();
        if let Some(rate) = job.rates.at(SystemClock.now()) {
            let turn = sender.pace.take(&job.target, rate, length as u64);
            outgoing.alive_while(sleep_until(turn)).await?;
        }
        outgoing.send(&message).await?;
        sender.squeezes.of(&job.target, |squeeze| squeeze.sent(length, began.elapsed()));
        sent += length as u64;
        tally.sent += length as u64;
        tally.progress.add(length as u64);
    }
    outgoing.send_end().await
}

/// Cuts what the backend produces into chunks: what is too long is divided without copying, what is short is put
/// together as long as it is there already. It never waits to fill a chunk.
struct Chunks {
    bytes: ByteStream,
    /// Short pieces, put together.
    rest: BytesMut,
    /// A long piece that was not used up.
    whole: Bytes,
    ended: bool,
}

impl Chunks {
    /// May be dropped and called again; nothing is lost.
    async fn next(&mut self) -> Result<Option<Bytes>, BackendError> {
        loop {
            if !self.whole.is_empty() {
                return Ok(Some(self.whole.split_to(self.whole.len().min(CHUNK_MAX))));
            }
            if self.ended {
                return Ok(None);
            }
            let more = if self.rest.is_empty() { self.bytes.next().await } else { self.ready() };
            match more {
                Some(Ok(piece)) if self.rest.is_empty() && piece.len() >= CHUNK_MAX / 2 => {
                    self.whole = piece
                }
                Some(Ok(piece)) if self.rest.len() + piece.len() <= CHUNK_MAX => {
                    self.rest.extend_from_slice(&piece)
                }
                Some(Ok(piece)) => {
                    self.whole = piece;
                    return Ok(Some(self.rest.split().freeze()));
                }
                Some(Err(error)) => return Err(error),
                None if self.rest.is_empty() => self.ended = true,
                None => return Ok(Some(self.rest.split().freeze())),
            }
        }
    }

    /// The next piece, if the backend has it at once. That it ended is noticed by the next call as well.
    fn ready(&mut self) -> Option<Result<Bytes, BackendError>> {
        if self.ended {
            return None;
        }
        match self.bytes.next().now_or_never() {
            Some(None) => {
                self.ended = true;
                None
            }
            Some(piece) => piece,
            None => None,
        }
    }
}
