//! A store in one file. One thread owns writing; reading goes on beside it; watchers read the log in the file.
//!
//! ```text
//! commit ──► queue ──► writer thread ──► one redb transaction for all that waited ──► fsync ──► answers
//!                                                                                      └──► newest revision ──► watchers
//! ```

mod changes;
mod file;
mod tables;
mod trial;
mod writer;

use std::{
    fmt,
    path::Path,
    sync::{Arc, RwLock},
    thread::JoinHandle,
};

use async_trait::async_trait;
use flocker_model::Revision;
use flocker_ports::{Entry, Listing, Store, StoreError, Transaction, WatchStream};
use redb::{Database, ReadTransaction};
use tokio::sync::{mpsc, oneshot, watch};

use self::{
    file::StoreFile,
    tables::{Failure, Reader},
    writer::{Job, Writer},
};

/// How much of the past is kept. Each number counts transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct History {
    /// Whose changes a watch can still be given. A node that was away for longer lists everything again, which costs
    /// about as much as reading so many changes.
    pub changes: u64,
    /// Whose request ids are remembered. A thousand transactions a second, more than a disk's sync allows, leave a
    /// client a hundred seconds to send one again; clients give up long before. At about 60 bytes each it is 6 MB.
    pub requests: u64,
}

impl Default for History {
    fn default() -> Self {
        Self { changes: 10_000, requests: 100_000 }
    }
}

/// Commits that wait for the disk. More wait in their callers.
const QUEUE_MAX: usize = 1024;

/// A store in a file of this node. Dropping it waits for the commit in flight and closes the file; watches then end
/// with an error.
pub struct EmbeddedStore {
    shared: Arc<Shared>,
    queue: Option<mpsc::Sender<Job>>,
    newest: watch::Receiver<Revision>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedStore").field("file", &self.shared.path).finish_non_exhaustive()
    }
}

impl EmbeddedStore {
    /// Opens the store in this file, or makes an empty one where there is no file. Everything in it is verified first,
    /// without changing a byte of it.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when it is damaged or is not a store; it was left as it is. [`StoreError::Failed`] when
    /// another process has it open, it was written by a newer version, or it cannot be read.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_with(path, History::default()).await
    }

    /// [`Self::open`], keeping another amount of the past.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_with(path: &Path, history: History) -> Result<Self, StoreError> {
        let file = StoreFile::new(path);
        tokio::task::spawn_blocking(move || Self::start(file, history))
            .await
            .map_err(|error| failed("could not open the store", &error))?
    }

    /// Opens the file and starts the thread that writes it.
    fn start(file: StoreFile, history: History) -> Result<Self, StoreError> {
        let database = file.open()?;
        let path = file.path();
        let newest = Reader::of(&database)
            .and_then(|reader| reader.newest())
            .map_err(|failure| failure.into_store_error(&path))?;
        let shared =
            Arc::new(Shared { path: path.clone(), state: RwLock::new(State::Open(database)) });
        let (queue, jobs) = mpsc::channel(QUEUE_MAX);
        let (published, newest) = watch::channel(newest);
        let writer = Writer { file, history, shared: Arc::clone(&shared), jobs, published };
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| failed("could not start the thread that writes the store", &error))?;
        Ok(Self { shared, queue: Some(queue), newest, thread: Some(thread) })
    }

    /// The queue to the writer; it is there until the store is dropped.
    fn queue(&self) -> Result<&mpsc::Sender<Job>, StoreError> {
        self.queue.as_ref().ok_or_else(|| self.shared.closed())
    }

    /// Reads. After a failure the file is opened anew before the next read.
    async fn read<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Reader) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        let answer = self.shared.read(f).await;
        if answer.is_err() {
            // Full means that the writer is busy and will find out by itself.
            let _ = self.queue()?.try_send(Job::Recover);
        }
        answer
    }
}

#[async_trait]
impl Store for EmbeddedStore {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        let key = key.to_owned();
        self.read(move |reader| reader.get(&key)).await
    }

    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        let prefix = prefix.to_owned();
        self.read(move |reader| reader.list(&prefix)).await
    }

    async fn commit(&self, transaction: Transaction) -> Result<Revision, StoreError> {
        transaction.validate()?;
        let (answer, answered) = oneshot::channel();
        self.queue()?
            .send(Job::Commit { transaction, answer })
            .await
            .map_err(|_| self.shared.closed())?;
        answered.await.map_err(|_| self.shared.closed())?
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<WatchStream, StoreError> {
        let (newest, compacted) =
            self.read(|reader| Ok((reader.newest()?, reader.compacted()?))).await?;
        if after < compacted || after > newest {
            return Err(StoreError::Compacted { after, oldest: Revision(compacted.0 + 1) });
        }
        Ok(changes::stream(Arc::clone(&self.shared), self.newest.clone(), prefix.to_owned(), after))
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        // The writer ends when it has answered everything in its queue.
        self.queue = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(file = %self.shared.path, "the thread that wrote the store ended in a panic");
        }
    }
}

/// What readers and the writer share.
struct Shared {
    path: String,
    state: RwLock<State>,
}

/// Whether there is a file to read.
enum State {
    /// There is.
    Open(Database),
    /// It could not be opened again after a failure, or was closed; this is why.
    Shut(StoreError),
}

impl Shared {
    /// Reads as of one moment, off the async threads.
    async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        f: impl FnOnce(&Reader) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(self);
        match tokio::task::spawn_blocking(move || shared.read_blocking(f)).await {
            Ok(answer) => answer.map_err(|failure| failure.into_store_error(&self.path)),
            // The program is about to end.
            Err(error) if error.is_cancelled() => Err(self.closed()),
            Err(error) => Err(failed("could not read the store", &error)),
        }
    }

    fn read_blocking<T>(
        &self,
        f: impl FnOnce(&Reader) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        // A panic while the lock was held leaves the database as it was: redb's own transaction was not committed.
        let state = self.state.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        match &*state {
            State::Open(database) => f(&Reader::of(database)?),
            State::Shut(error) => Err(Failure::Store(error.clone())),
        }
    }

    /// The store was closed under its users. For those on other nodes it is as if it could not be reached: it may be
    /// opened again.
    fn closed(&self) -> StoreError {
        StoreError::Unreachable { address: self.path.clone(), reason: "it was closed".into() }
    }
}

impl Reader {
    /// Everything as of now.
    fn of(database: &Database) -> Result<Self, Failure> {
        use redb::ReadableDatabase;
        let transaction: ReadTransaction = database.begin_read()?;
        Ok(Self(transaction))
    }
}

/// Something outside the store failed.
fn failed(action: &str, reason: &dyn fmt::Display) -> StoreError {
    StoreError::Failed { action: action.to_owned(), reason: reason.to_string() }
}

#[cfg(test)]
pub(crate) mod tests;
