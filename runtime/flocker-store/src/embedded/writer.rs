//! The thread that owns writing. Transactions that waited while the disk was busy share the next sync.

use std::sync::Arc;

use flocker_model::Revision;
use flocker_ports::{StoreError, Transaction};
use redb::Database;
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    History, Shared, State,
    file::StoreFile,
    tables::{Failure, Outcome, Reader, Tables},
};

/// Transactions that share a sync. More would make the first of them wait for the last.
const BATCH_MAX: usize = 64;

/// What the writer is asked for.
pub(super) enum Job {
    /// Make this, durably, and say so.
    Commit { transaction: Transaction, answer: oneshot::Sender<Result<Revision, StoreError>> },
    /// A read failed: open the file anew.
    Recover,
}

/// A transaction and who waits for it.
type Pending = (Transaction, oneshot::Sender<Result<Revision, StoreError>>);

/// What the thread owns.
pub(super) struct Writer {
    pub(super) file: StoreFile,
    pub(super) history: History,
    pub(super) shared: Arc<Shared>,
    pub(super) jobs: mpsc::Receiver<Job>,
    /// The newest revision that is durable. Only this thread changes it.
    pub(super) published: watch::Sender<Revision>,
}

impl Writer {
    /// Works until nobody can ask for anything any more, then closes the file.
    pub(super) fn run(mut self) {
        while let Some(job) = self.jobs.blocking_recv() {
            let mut batch: Vec<Pending> = Vec::new();
            let mut recover = false;
            let mut next = Some(job);
            while let Some(job) = next {
                match job {
                    Job::Commit { transaction, answer } => batch.push((transaction, answer)),
                    Job::Recover => recover = true,
                }
                next = if batch.len() < BATCH_MAX { self.jobs.try_recv().ok() } else { None };
            }
            if recover {
                self.reopen();
            }
            if !batch.is_empty() {
                self.write(batch);
            }
        }
        self.shut(self.shared.closed());
    }

    /// Makes the batch. After a failure nobody knows how much of it reached the disk: the file is opened and read anew,
    /// and the batch is made once more, where request ids tell what was made.
    fn write(&self, batch: Vec<Pending>) {
        let (transactions, waiting): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        let outcomes = self.attempt(&transactions).or_else(|failure| {
            tracing::error!(file = %self.shared.path, error = %failure, "a commit failed; opening the store file anew");
            self.reopen();
            self.attempt(&transactions)
        });
        match outcomes {
            Ok((newest, outcomes)) => {
                self.published.send_replace(newest);
                for (outcome, answer) in outcomes.into_iter().zip(waiting) {
                    // A caller that no longer waits will send the same request again, or does not care.
                    let _ = answer.send(match outcome {
                        Outcome::Made(revision) | Outcome::Before(revision) => Ok(revision),
                        Outcome::Conflict(key) => Err(StoreError::Conflict { key }),
                    });
                }
            }
            Err(failure) => {
                let error = failure.into_store_error(&self.shared.path);
                // What it left in memory is not to be trusted, so nobody reads it.
                self.reopen();
                for answer in waiting {
                    let _ = answer.send(Err(error.clone()));
                }
            }
        }
    }

    fn attempt(&self, transactions: &[Transaction]) -> Result<(Revision, Vec<Outcome>), Failure> {
        let state = self.shared.state.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        match &*state {
            State::Open(database) => make_all(database, transactions, self.history),
            State::Shut(error) => Err(Failure::Store(error.clone())),
        }
    }

    /// Closes the file, and opens it again as if the process had just started. Readers wait meanwhile. Where it cannot
    /// be opened they are told why, and the next attempt tries again.
    fn reopen(&self) {
        let mut state =
            self.shared.state.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        // The lock on the file goes with the old database.
        *state = State::Shut(self.shared.closed());
        let opened = self.file.reopen().and_then(|database| {
            let newest = Reader::of(&database).and_then(|reader| reader.newest());
            let newest = newest.map_err(|failure| failure.into_store_error(&self.shared.path))?;
            Ok((database, newest))
        });
        *state = match opened {
            Ok((database, newest)) => {
                self.published.send_replace(newest);
                State::Open(database)
            }
            Err(error) => {
                tracing::error!(file = %self.shared.path, %error, "the store file cannot be opened again");
                State::Shut(error)
            }
        };
    }

    fn shut(&self, why: StoreError) {
        let mut state =
            self.shared.state.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        *state = State::Shut(why);
    }
}

/// One redb transaction for all of them, and one sync.
fn make_all(
    database: &Database,
    transactions: &[Transaction],
    history: History,
) -> Result<(Revision, Vec<Outcome>), Failure> {
    let writing = database.begin_write()?;
    let mut tables = Tables::open(&writing)?;
    let outcomes = transactions.iter().map(|t| tables.make(t)).collect::<Result<Vec<_>, _>>()?;
    let newest = tables.finish(history)?;
    if outcomes.iter().any(|outcome| matches!(outcome, Outcome::Made(_))) {
        // redb's default durability: it returns when the disk says that it holds it.
        writing.commit()?;
    } else {
        writing.abort()?;
    }
    Ok((newest, outcomes))
}
