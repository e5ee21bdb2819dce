//! The client that must not notice: appends numbered records to a list in redis, one after another, through one node's
//! proxy, and remembers what was acknowledged. Every refusal, reset, end and reconnect is counted and printed.
//!
//! A record whose answer did not come is never sent again: it may be there or not, but at most once.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{self, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};

use super::resp::{Connection, Reply};
use crate::say;

/// The list that the records are in.
const LIST: &str = "records";

/// How long an answer may take. Longer than any park, so that a held request is not taken for a lost one.
const PATIENCE: Duration = Duration::from_secs(40);

/// Between two attempts to connect after a refusal.
const RETRY: Duration = Duration::from_millis(10);

/// Gaps shorter than this are not worth remembering.
const GAP_NOTED: Duration = Duration::from_millis(2);

/// The node whose proxy the client talks to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Door {
    pub(super) node: String,
    pub(super) address: SocketAddr,
}

/// What the client saw.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// Numbers of the records that redis acknowledged.
    pub(super) acked: Vec<u64>,
    /// Numbers of the records whose answer never came.
    pub(super) unknown: Vec<u64>,
    /// Connections refused, or not answered at all.
    pub(super) refused: u64,
    /// Connections that ended with a reset.
    pub(super) resets: u64,
    /// Connections that were closed.
    pub(super) ends: u64,
    /// Connections made after one that ended.
    pub(super) reconnects: u64,
    /// From one acknowledgement to the next, where it took long.
    gaps: Vec<(Instant, Instant)>,
    last: Option<Instant>,
}

impl Seen {
    /// The longest time without an acknowledgement that overlaps the window.
    pub(super) fn blackout(&self, from: Instant, to: Instant) -> Duration {
        let overlapping = self.gaps.iter().filter(|(start, end)| *start <= to && *end >= from);
        overlapping.map(|(start, end)| end.duration_since(*start)).max().unwrap_or_default()
    }
}

/// A running client.
#[derive(Debug)]
pub(super) struct Client {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

#[derive(Debug)]
struct Shared {
    door: Mutex<Door>,
    seen: Mutex<Seen>,
    stop: AtomicBool,
    started: Instant,
    journal: PathBuf,
    pause: Duration,
}

impl Client {
    /// Starts to write through this door, with a pause after each record; `journal` gets the numbers of the acknowledged
    /// records, each made durable before the next record is sent.
    pub(super) fn start(door: Door, journal: &Path, pause: Duration) -> Result<Self> {
        let file = OpenOptions::new().create_new(true).append(true).open(journal);
        let file = file.with_context(|| format!("could not create `{}`", journal.display()))?;
        let shared = Arc::new(Shared {
            door: Mutex::new(door),
            seen: Mutex::default(),
            stop: AtomicBool::new(false),
            started: Instant::now(),
            journal: journal.to_owned(),
            pause,
        });
        let thread = thread::spawn({
            let shared = Arc::clone(&shared);
            move || Writer { shared, connection: None, next: 1 }.run(file)
        });
        Ok(Self { shared, thread: Some(thread) })
    }

    /// From the next record on, writes through this door.
    pub(super) fn use_door(&self, door: Door) {
        *lock(&self.shared.door) = door;
    }

    /// The door it writes through.
    pub(super) fn door(&self) -> Door {
        lock(&self.shared.door).clone()
    }

    /// What it saw until now.
    pub(super) fn seen(&self) -> Seen {
        lock(&self.shared.seen).clone()
    }

    /// How many records were acknowledged until now.
    pub(super) fn acked(&self) -> usize {
        lock(&self.shared.seen).acked.len()
    }

    /// Whether its thread ended by itself, which it must not.
    pub(super) fn check(&mut self) -> Result<()> {
        if self.thread.as_ref().is_some_and(JoinHandle::is_finished) {
            self.join()?;
            bail!("the client ended too early");
        }
        Ok(())
    }

    /// Ends it and counts: every acknowledged record must be in the list exactly once.
    pub(super) fn finish(mut self) -> Result<(Seen, Verdict)> {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.join()?;
        let seen = self.seen();
        let journal = std::fs::read_to_string(&self.shared.journal)
            .context("could not read the client's journal")?;
        let acked: Vec<u64> = journal.lines().filter_map(|line| line.parse().ok()).collect();
        anyhow::ensure!(acked == seen.acked, "the client's journal and its memory differ");
        let found = records(self.door().address).context("could not read the records back")?;
        let verdict = Verdict::of(&seen, &found);
        Ok((seen, verdict))
    }

    fn join(&mut self) -> Result<()> {
        match self.thread.take().map(JoinHandle::join) {
            None | Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(error))) => Err(error).context("the client failed"),
            Some(Err(_)) => Err(anyhow!("the client panicked")),
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

/// What the data says at the end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Acknowledged, and not in the list.
    pub(super) lost: usize,
    /// In the list more than once.
    pub(super) doubled: usize,
    /// In the list, and never sent.
    pub(super) foreign: usize,
    /// Unknown to the client, and in the list.
    pub(super) survived: usize,
}

impl Verdict {
    fn of(seen: &Seen, found: &[u64]) -> Self {
        let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
        for number in found {
            *counts.entry(*number).or_default() += 1;
        }
        let doubled = counts.values().filter(|count| **count > 1).count();
        let lost = seen.acked.iter().filter(|number| counts.remove(number).is_none()).count();
        let survived = seen.unknown.iter().filter(|number| counts.remove(number).is_some()).count();
        Self { lost, doubled, foreign: counts.len(), survived }
    }
}

/// All records that are in the list.
fn records(address: SocketAddr) -> Result<Vec<u64>> {
    let mut connection = Connection::open(address, PATIENCE)?;
    let mut all = Vec::new();
    loop {
        let (from, to) = (all.len().to_string(), (all.len() + 9_999).to_string());
        let Reply::List(part) = connection.call(&["LRANGE", LIST, &from, &to])? else {
            bail!("redis did not answer with a list");
        };
        if part.is_empty() {
            return Ok(all);
        }
        for record in part {
            let Reply::Bulk(Some(text)) = record else {
                bail!("a record is not a string: {record:?}")
            };
            all.push(text.parse().with_context(|| format!("record `{text}` is not a number"))?);
        }
    }
}

struct Writer {
    shared: Arc<Shared>,
    connection: Option<(Door, Connection)>,
    next: u64,
}

impl Writer {
    fn run(mut self, mut journal: File) -> io::Result<()> {
        while !self.shared.stop.load(Ordering::Relaxed) {
            if !self.connect() {
                continue;
            }
            let Some((door, connection)) = &mut self.connection else { continue };
            match connection.call(&["RPUSH", LIST, &self.next.to_string()]) {
                Ok(Reply::Number(_)) => {
                    self.acknowledged();
                    writeln!(journal, "{}", self.next)?;
                    journal.sync_data()?;
                    self.next += 1;
                    thread::sleep(self.shared.pause);
                }
                // Redis still reads its file, say: it did nothing, and the same number may be sent again.
                Ok(reply) => {
                    let text = format!("redis answered {reply:?} to record {}", self.next);
                    self.print(&text);
                    thread::sleep(RETRY);
                }
                Err(error) => {
                    let node = door.node.clone();
                    self.connection = None;
                    self.broken(&node, &error);
                }
            }
        }
        Ok(())
    }

    /// Sees to a connection through the door that is wanted; false where it failed.
    fn connect(&mut self) -> bool {
        let wanted = lock(&self.shared.door).clone();
        match &self.connection {
            Some((door, _)) if *door == wanted => return true,
            Some(_) => self.connection = None,
            None => {}
        }
        let started = Instant::now();
        match Connection::open(wanted.address, PATIENCE) {
            Ok(connection) => {
                let text = format!(
                    "connected through {} in {} ms",
                    wanted.node,
                    started.elapsed().as_millis()
                );
                self.print(&text);
                lock(&self.shared.seen).reconnects += 1;
                self.connection = Some((wanted, connection));
                true
            }
            Err(error) => {
                self.print(&format!("REFUSED by {}: {error}", wanted.node));
                lock(&self.shared.seen).refused += 1;
                thread::sleep(RETRY);
                false
            }
        }
    }

    fn acknowledged(&self) {
        let now = Instant::now();
        let mut seen = lock(&self.shared.seen);
        seen.acked.push(self.next);
        if let Some(last) = seen.last.replace(now)
            && now.duration_since(last) >= GAP_NOTED
        {
            seen.gaps.push((last, now));
        }
    }

    /// The answer to the record did not come.
    fn broken(&mut self, node: &str, error: &io::Error) {
        let reset =
            matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe);
        let how = if reset { "reset" } else { "ended" };
        self.print(&format!(
            "connection {how} by {node} while record {} was under way ({error})",
            self.next
        ));
        let mut seen = lock(&self.shared.seen);
        if reset {
            seen.resets += 1;
        } else {
            seen.ends += 1;
        }
        seen.unknown.push(self.next);
        drop(seen);
        self.next += 1;
    }

    fn print(&self, text: &str) {
        say::line(&format!(
            "[{:>7.3}s] client: {text}",
            self.shared.started.elapsed().as_secs_f64()
        ));
    }
}

/// A lock whose holder panicked still guards numbers that are worth printing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_was_acknowledged_and_is_not_there_is_lost() {
        let seen = Seen { acked: vec![1, 2, 4, 6], unknown: vec![3, 5], ..Seen::default() };

        let verdict = Verdict::of(&seen, &[1, 3, 4, 4, 6, 9]);

        assert_eq!(verdict, Verdict { lost: 1, doubled: 1, foreign: 1, survived: 1 });
    }

    #[test]
    fn the_blackout_is_the_longest_gap_that_touches_the_window() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let seen = Seen {
            gaps: vec![(at(0), at(900)), (at(1000), at(1100)), (at(1150), at(1400))],
            ..Seen::default()
        };

        assert_eq!(seen.blackout(at(1050), at(1200)), Duration::from_millis(250));
        assert_eq!(seen.blackout(at(910), at(990)), Duration::ZERO);
    }
}
