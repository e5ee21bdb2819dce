//! The client that must not notice: adds numbers to the app's log, one after another, through one node's proxy, and
//! remembers what was promised.
//!
//! A number whose answer did not come is never sent again: it may be there or not, but at most once.

use std::{
    collections::BTreeMap,
    io::{self, BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::wait::until;

/// How long an answer may take. Longer than any park, so that a held request is not taken for a lost one.
const PATIENCE: Duration = Duration::from_secs(40);

/// Between two attempts to connect after a refusal.
const RETRY: Duration = Duration::from_millis(10);

/// What the client saw.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Numbers that the app promised to have.
    pub acked: Vec<u64>,
    /// Numbers whose answer never came.
    pub unknown: Vec<u64>,
    /// Each connection that could not be made, and why.
    pub refused: Vec<String>,
    /// Connections that ended while an answer was awaited.
    pub n_broken: usize,
    /// The longest time without a promise since [`Client::mark`].
    pub gap: Duration,
    last: Option<Instant>,
}

/// A running client.
#[derive(Debug)]
pub struct Client {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    door: Mutex<SocketAddr>,
    seen: Mutex<Seen>,
    stop: AtomicBool,
}

impl Client {
    /// Starts to write through this door.
    #[must_use]
    pub fn start(door: SocketAddr) -> Self {
        let shared = Arc::new(Shared {
            door: Mutex::new(door),
            seen: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let writer = Writer { shared: Arc::clone(&shared), connection: None, next: 1 };
        Self { shared, thread: Some(thread::spawn(move || writer.run())) }
    }

    /// From the next number on, writes through this door; returns when it does.
    ///
    /// # Errors
    /// When it does not get through.
    pub fn use_door(&self, door: SocketAddr) -> Result<()> {
        *lock(&self.shared.door) = door;
        // One number may still be under way through the old one.
        self.flows(2)
    }

    /// What it saw until now.
    #[must_use]
    pub fn seen(&self) -> Seen {
        lock(&self.shared.seen).clone()
    }

    /// Begins to measure gaps anew.
    pub fn mark(&self) {
        lock(&self.shared.seen).gap = Duration::ZERO;
    }

    /// Waits until so many more numbers were promised.
    ///
    /// # Errors
    /// When they were not.
    pub fn flows(&self, n_more: usize) -> Result<()> {
        let wanted = self.seen().acked.len() + n_more;
        until("the client writing", || {
            Ok((lock(&self.shared.seen).acked.len() >= wanted).then_some(()))
        })
    }

    /// Everything promised until now must be there, once, and nothing that was never sent; nothing was refused.
    ///
    /// # Errors
    /// When something is missing, double or foreign, or a connection was refused.
    pub fn check(&self) -> Result<()> {
        self.flows(20).context("the app does not answer any more")?;
        let before = self.seen();
        let log = dump(*lock(&self.shared.door)).context("could not read the app's log")?;
        let after = self.seen();
        ensure!(after.refused.is_empty(), "connections were refused: {:?}", after.refused);
        // One more than the last that was heard of may be under way at any moment.
        let last = after.acked.iter().chain(&after.unknown).max().map_or(1, |last| last + 1);
        judge(&before.acked, last, &log)
    }

    /// Forgets refusals: where every node dies at once, nobody is there to hold connections.
    pub fn forgive(&self) {
        lock(&self.shared.seen).refused.clear();
    }
}

/// Every number promised is in the log, none twice, and none that was never sent.
fn judge(acked: &[u64], last: u64, log: &[u64]) -> Result<()> {
    let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
    for number in log {
        *counts.entry(*number).or_default() += 1;
    }
    let lost: Vec<_> = acked.iter().filter(|number| !counts.contains_key(number)).collect();
    ensure!(lost.is_empty(), "promised and lost: {lost:?} of {}", acked.len());
    let double: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).collect();
    ensure!(double.is_empty(), "in the log more than once: {double:?}");
    let foreign: Vec<_> = counts.keys().filter(|number| **number > last).collect();
    ensure!(foreign.is_empty(), "never sent: {foreign:?}");
    Ok(())
}

impl Drop for Client {
    fn drop(&mut self) {
        // Its thread ends with the answer that it waits for; nobody has to wait for that.
        self.shared.stop.store(true, Ordering::Relaxed);
        drop(self.thread.take());
    }
}

/// Has the app write so many MiB of random bytes.
pub(crate) fn fill(door: SocketAddr, mib: u64) -> Result<()> {
    let answer = Connection::open(door)?.call(&format!("fill {mib}"))?;
    ensure!(answer == "ok", "the app answered `{answer}` when it was to fill its volume");
    Ok(())
}

/// The numbers in the app's log.
fn dump(door: SocketAddr) -> Result<Vec<u64>> {
    let mut connection = Connection::open(door)?;
    let n_lines: usize = connection.call("dump")?.parse()?;
    let mut line = || Ok(connection.line()?.parse()?);
    (0..n_lines).map(|_| line()).collect()
}

struct Connection {
    door: SocketAddr,
    stream: BufReader<TcpStream>,
}

impl Connection {
    fn open(door: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&door, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { door, stream: BufReader::new(stream) })
    }

    fn call(&mut self, line: &str) -> io::Result<String> {
        self.stream.get_mut().write_all(format!("{line}\n").as_bytes())?;
        self.line()
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        // Half a line before the end is no answer.
        if self.stream.read_line(&mut line)? == 0 || line.pop() != Some('\n') {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line)
    }
}

struct Writer {
    shared: Arc<Shared>,
    connection: Option<Connection>,
    next: u64,
}

impl Writer {
    fn run(mut self) {
        while !self.shared.stop.load(Ordering::Relaxed) {
            if let Err(error) = self.add() {
                let mut seen = lock(&self.shared.seen);
                seen.n_broken += 1;
                seen.unknown.push(self.next);
                // A broken connection is the end of one; an answer that is none would be a bug of the app or the proxy.
                if error.downcast_ref::<io::Error>().is_none() {
                    seen.refused.push(format!("{error:#}"));
                }
                drop(seen);
                self.connection = None;
                self.next += 1;
            }
        }
    }

    fn add(&mut self) -> Result<()> {
        let Some(mut connection) = self.connected() else { return Ok(()) };
        let answer = connection.call(&format!("add {}", self.next))?;
        if answer != format!("ok {}", self.next) {
            bail!("`add {}` was answered with `{answer}`", self.next);
        }
        self.connection = Some(connection);
        let mut seen = lock(&self.shared.seen);
        seen.acked.push(self.next);
        let now = Instant::now();
        if let Some(last) = seen.last.replace(now) {
            seen.gap = seen.gap.max(now.duration_since(last));
        }
        self.next += 1;
        Ok(())
    }

    /// A connection through the door that is wanted; none where it was refused.
    fn connected(&mut self) -> Option<Connection> {
        let door = *lock(&self.shared.door);
        if let Some(known) = self.connection.take().filter(|known| known.door == door) {
            return Some(known);
        }
        match Connection::open(door) {
            Ok(connection) => Some(connection),
            Err(error) => {
                lock(&self.shared.seen).refused.push(format!("by {door}: {error}"));
                thread::sleep(RETRY);
                None
            }
        }
    }
}

/// A lock whose holder panicked still guards numbers that are worth a look.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_promised_must_be_there_once_and_nothing_else() {
        for (log, verdict) in [
            (&[1, 2, 3, 4][..], None),
            (&[1, 3, 4], Some("promised and lost: [2] of 3")),
            (&[1, 2, 2, 3], Some("in the log more than once: [(2, 2)]")),
            (&[1, 2, 3, 9], Some("never sent: [9]")),
        ] {
            let judged = judge(&[1, 2, 3], 4, log).map_err(|error| error.to_string());
            assert_eq!(judged.err().as_deref(), verdict, "{log:?}");
        }
    }
}
