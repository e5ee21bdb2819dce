//! Frames over a connection, with a bound on how long either side may be silent.

use std::{future::Future, io, time::Duration};

use bytes::{Buf, Bytes};
use flocker_ports::BackendError;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{Instant, MissedTickBehavior, interval_at, timeout},
};

use crate::{
    frame::{Decoder, Encoder, FrameError, Side},
    wire::{Header, Message},
};

/// Why a connection is over before its time.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("the connection was cut: {0}")]
    Io(#[from] io::Error),
    #[error("the connection was closed in the middle of the stream")]
    Closed,
    #[error("nothing was heard for {0:?}")]
    Idle(Duration),
    #[error("nothing could be sent for {0:?}")]
    Stuck(Duration),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("`{found}` came where `{expected}` was due")]
    Unexpected { expected: &'static str, found: &'static str },
    #[error("the storage failed")]
    Backend(#[from] BackendError),
}

/// The half that is read.
#[derive(Debug)]
pub(crate) struct Incoming<R> {
    reader: R,
    decoder: Decoder,
    idle: Duration,
}

impl<R: AsyncRead + Unpin> Incoming<R> {
    pub(crate) fn new(reader: R, from: Side, idle: Duration) -> Self {
        Self { reader, decoder: Decoder::new(from), idle }
    }

    pub(crate) fn bind(&mut self, header: &Header, nonce: &[u8; 16]) {
        self.decoder.bind(header, nonce);
    }

    /// The next message that is not `KeepAlive`. May be dropped and called again; nothing is lost.
    pub(crate) async fn next(&mut self) -> Result<Message, LinkError> {
        loop {
            match self.decoder.next()? {
                Some(Message::KeepAlive) => {}
                Some(message) => return Ok(message),
                None => {
                    let read = self.reader.read_buf(self.decoder.buffer());
                    if timeout(self.idle, read).await.map_err(|_| LinkError::Idle(self.idle))?? == 0
                    {
                        return Err(LinkError::Closed);
                    }
                }
            }
        }
    }

    pub(crate) async fn drain(self, limit: Duration) {
        drain(self.reader, limit).await;
    }
}

/// Reads and forgets, until the other side closes or `limit` has passed. Closing a connection with unread bytes makes the
/// kernel reset it, and the reset overtakes the refusal that was just written.
pub(crate) async fn drain(mut reader: impl AsyncRead + Unpin, limit: Duration) {
    let _ = timeout(limit, tokio::io::copy(&mut reader, &mut tokio::io::sink())).await;
}

/// The half that is written.
#[derive(Debug)]
pub(crate) struct Outgoing<W> {
    writer: W,
    encoder: Encoder,
    begun: bool,
    idle: Duration,
}

impl<W: AsyncWrite + Unpin> Outgoing<W> {
    pub(crate) fn new(writer: W, from: Side, idle: Duration) -> Self {
        Self { writer, encoder: Encoder::new(from), begun: false, idle }
    }

    pub(crate) fn bind(&mut self, header: &Header, nonce: &[u8; 16]) {
        self.encoder.bind(header, nonce);
    }

    /// Sends one message. Dropped in the middle, it leaves half a frame: the connection is of no use afterwards.
    pub(crate) async fn send(&mut self, message: &Message) -> Result<(), LinkError> {
        let frame = self.encoder.encode(message);
        self.write(frame).await
    }

    /// Says that all chunks were sent.
    pub(crate) async fn send_end(&mut self) -> Result<(), LinkError> {
        let frame = self.encoder.encode_end();
        self.write(frame).await
    }

    async fn write(&mut self, frame: impl Buf) -> Result<(), LinkError> {
        let preamble = if self.begun { Bytes::new() } else { Encoder::preamble() };
        self.begun = true;
        let mut bytes = Buf::chain(preamble, frame);
        // One call, not one per part: with TCP_NODELAY each would become a packet of its own.
        while bytes.has_remaining() {
            let wrote = timeout(self.idle, self.writer.write_buf(&mut bytes));
            if wrote.await.map_err(|_| LinkError::Stuck(self.idle))?? == 0 {
                return Err(LinkError::Closed);
            }
        }
        // TLS takes bytes that the kernel has no room for yet; nobody else would send them on.
        timeout(self.idle, self.writer.flush())
            .await
            .map_err(|_| LinkError::Stuck(self.idle))??;
        Ok(())
    }

    /// Waits for work on this side, and tells the other side meanwhile that it is not forgotten. A cut ends the work.
    pub(crate) async fn alive_while<T>(
        &mut self,
        work: impl Future<Output = T>,
    ) -> Result<T, LinkError> {
        let mut work = std::pin::pin!(work);
        let mut ticks = keep_alive(self.idle);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                _ = ticks.tick() => self.send(&Message::KeepAlive).await?,
            }
        }
    }

    /// The same for work that must not be left in the middle: it is done before a cut is reported.
    pub(crate) async fn alive_until<T>(
        &mut self,
        work: impl Future<Output = T>,
    ) -> Result<T, LinkError> {
        let mut work = std::pin::pin!(work);
        match self.alive_while(&mut work).await {
            Err(cut) => {
                work.await;
                Err(cut)
            }
            done => done,
        }
    }

    pub(crate) async fn close(&mut self) {
        let _ = timeout(self.idle, self.writer.shutdown()).await;
    }
}

/// Three signs of life in the time after which silence means death: one may be late, one may be lost.
fn keep_alive(idle: Duration) -> tokio::time::Interval {
    let period = idle / 3;
    let mut ticks = interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
