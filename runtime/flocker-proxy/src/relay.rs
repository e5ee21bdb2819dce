//! Copies bytes between a client and a backend until one of four ends. Knows sockets and nothing of routes.

use std::{
    future::Future,
    io,
    pin::pin,
    sync::atomic::{AtomicBool, Ordering},
};

use tokio::{io::Interest, net::TcpStream, select, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    limits::Limits,
    routing::Fate,
    socket,
    stats::{Counter, Meter},
};

/// Most requests and answers fit; an idle connection has no buffer at all.
const BUFFER_FIRST: usize = 8 << 10;
/// What a connection gets once it filled the first. Four times fewer system calls than 16 KiB for bulk, and still small
/// enough for the processor's cache.
const BUFFER_BULK: usize = 64 << 10;

/// How a relay ended.
#[derive(Debug)]
pub(crate) enum End {
    /// Both sides said that they are done.
    Finished,
    /// One side is gone.
    Broken(io::Error),
    /// It was quiesced.
    Quiesced,
    /// It was cut.
    Cut,
    /// It was to be quiesced or cut before a byte, or an end, went through in either direction.
    Untouched,
}

/// A client and a backend, to be joined.
#[derive(Debug)]
pub(crate) struct Relay<'a> {
    client: &'a TcpStream,
    backend: &'a TcpStream,
    meter: &'a Meter,
    limits: &'a Limits,
    quiescing: CancellationToken,
    touched: AtomicBool,
}

/// Why a direction stops for the moment.
enum Pause {
    /// Nothing to read now.
    Dry,
    /// Nothing to read ever again.
    End,
}

impl<'a> Relay<'a> {
    pub(crate) fn new(
        client: &'a TcpStream,
        backend: &'a TcpStream,
        meter: &'a Meter,
        limits: &'a Limits,
    ) -> Self {
        Self {
            client,
            backend,
            meter,
            limits,
            quiescing: CancellationToken::new(),
            touched: AtomicBool::new(false),
        }
    }

    /// Relays until both sides are done or one is gone; or until `disturbed` says what else is to happen, where a
    /// quiescing turns into a cut as soon as `cut` says so.
    pub(crate) async fn run(
        self,
        disturbed: impl Future<Output = Fate>,
        cut: impl Future<Output = ()>,
    ) -> End {
        let stopped = async {
            let fate = disturbed.await;
            if !self.touched.load(Ordering::Relaxed) {
                return End::Untouched;
            }
            match fate {
                Fate::Keep | Fate::Cut => End::Cut,
                Fate::Quiesce => {
                    self.quiescing.cancel();
                    select! {
                        () = cut => End::Cut,
                        () = sleep(self.limits.quiesce_max) => End::Quiesced,
                    }
                }
            }
        };
        let copied = async {
            match self.both().await {
                Err(error) => End::Broken(error),
                Ok(()) if self.quiescing.is_cancelled() => End::Quiesced,
                Ok(()) => End::Finished,
            }
        };
        // `stopped` first: bytes that came together with the news must not be relayed any more.
        select! {
            biased;
            end = stopped => end,
            end = copied => end,
        }
    }

    /// Both directions. From a side that said its last nothing more is read, so its death has to be asked for: otherwise
    /// what is left of the connection would stay until the other side speaks, which may be never.
    async fn both(&self) -> io::Result<()> {
        let (mut upward, mut downward) = (pin!(self.upward()), pin!(self.downward()));
        select! {
            up = &mut upward => {
                up?;
                select! {
                    down = downward => down,
                    dead = died(self.client) => Err(dead),
                }
            }
            down = &mut downward => {
                down?;
                // The client has all that it will ever get, and the kernel brings it the rest: whatever becomes of the
                // app now must not end that with a reset.
                select! {
                    _ = upward => Ok(()),
                    _ = died(self.backend) => Ok(()),
                }
            }
        }
    }

    /// Client to backend, until the client is done or we quiesce.
    async fn upward(&self) -> io::Result<()> {
        loop {
            select! {
                biased;
                () = self.quiescing.cancelled() => return Ok(()),
                ready = self.client.readable() => ready?,
            }
            let stop = || self.quiescing.is_cancelled();
            match self.copy(self.client, self.backend, &self.meter.inward, stop).await? {
                Pause::Dry => {}
                Pause::End => return Ok(()),
            }
        }
    }

    /// Backend to client, until the backend is done, or is silent while we quiesce.
    async fn downward(&self) -> io::Result<()> {
        loop {
            select! {
                biased;
                ready = self.backend.readable() => ready?,
                () = self.silence() => return Ok(()),
            }
            match self.copy(self.backend, self.client, &self.meter.outward, || false).await? {
                Pause::Dry => {}
                Pause::End => return Ok(()),
            }
        }
    }

    async fn silence(&self) {
        self.quiescing.cancelled().await;
        sleep(self.limits.quiesce_silence).await;
    }

    /// Copies what there is to read now. The buffer lives only meanwhile, so that idle connections cost none.
    async fn copy(
        &self,
        from: &TcpStream,
        to: &TcpStream,
        counter: &Counter,
        stop: impl Fn() -> bool,
    ) -> io::Result<Pause> {
        let mut buffer = Vec::with_capacity(BUFFER_FIRST);
        while !stop() {
            match from.try_read_buf(&mut buffer) {
                Ok(0) => {
                    self.touched.store(true, Ordering::Relaxed);
                    socket::end_of_stream(to)?;
                    return Ok(Pause::End);
                }
                Ok(n) => counter.add(n as u64),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Pause::Dry),
                Err(error) => return Err(error),
            }
            self.touched.store(true, Ordering::Relaxed);
            write_all(to, &buffer).await?;
            let full = buffer.len() == buffer.capacity();
            buffer.clear();
            if full {
                buffer.reserve_exact(BUFFER_BULK);
            }
            // A client that never stops sending must not keep the others on this thread waiting.
            tokio::task::coop::consume_budget().await;
        }
        Ok(Pause::Dry)
    }
}

/// Returns when the peer is known to be gone, by a reset or by its silence.
async fn died(stream: &TcpStream) -> io::Error {
    match stream.ready(Interest::ERROR).await.and_then(|_| stream.take_error()) {
        Ok(error) => error.unwrap_or_else(|| io::ErrorKind::ConnectionReset.into()),
        Err(error) => error,
    }
}

async fn write_all(to: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match to.try_write(bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => to.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
