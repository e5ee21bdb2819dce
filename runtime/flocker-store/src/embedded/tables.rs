//! What is in the file, and how it is read and changed. Knows nothing of threads, queues and files.

use bytes::Bytes;
use flocker_model::Revision;
use flocker_ports::{Entry, Listing, StoreChange, StoreError, Transaction};
use redb::{ReadTransaction, ReadableTable, Table, TableDefinition, WriteTransaction};

use super::History;

/// The version of the tables below. A change of them gets the next number and a conversion from this one.
pub(super) const VERSION: u64 = 1;

/// Numbers about the store itself.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// Key to the revision of the last change, and the content.
const RECORDS: TableDefinition<'_, &str, (u64, &[u8])> = TableDefinition::new("records");
/// A change in the log: its key, and the new content unless it was removed.
type Logged<'c> = (&'c str, Option<&'c [u8]>);
/// Revision and position in the transaction, to the change.
const LOG: TableDefinition<'_, (u64, u32), Logged<'_>> = TableDefinition::new("log");
/// Request id to the revision that it made.
const REQUESTS: TableDefinition<'_, &str, u64> = TableDefinition::new("requests");
/// The same the other way round, so that the oldest can be forgotten.
const REQUESTS_BY_AGE: TableDefinition<'_, u64, &str> = TableDefinition::new("requests_by_age");

/// The version of the tables.
const META_VERSION: &str = "version";
/// The revision of the last transaction.
const META_NEWEST: &str = "newest";
/// The revision up to which the log was cut.
const META_COMPACTED: &str = "compacted";

/// Changes that a watch reads in one go: catching up costs few reads, and no read takes long.
const PAGE_CHANGES: usize = 256;
/// Bytes that a watch reads in one go, and so keeps in memory (a last transaction may add as much again).
const PAGE_BYTES: usize = 256 << 10;

/// Why the file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// redb or the disk says so.
    #[error(transparent)]
    Redb(redb::Error),
    /// It was known before.
    #[error(transparent)]
    Store(StoreError),
}

impl<E: Into<redb::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Redb(error.into())
    }
}

impl Failure {
    /// The same, to the store's user.
    pub(super) fn into_store_error(self, path: &str) -> StoreError {
        match self {
            Self::Store(error) => error,
            Self::Redb(redb::Error::Corrupted(reason)) => {
                StoreError::Corrupt { path: path.to_owned(), reason }
            }
            Self::Redb(other) => {
                let action = format!("could not read or write the store file `{path}`");
                StoreError::Failed { action, reason: other.to_string() }
            }
        }
    }
}

/// Everything as of one moment.
pub(super) struct Reader(pub(super) ReadTransaction);

impl Reader {
    /// The version of the tables; `None` when this is not a store.
    pub(super) fn version(&self) -> Result<Option<u64>, Failure> {
        match self.0.open_table(META) {
            Ok(meta) => Ok(meta.get(META_VERSION)?.map(|version| version.value())),
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
            Err(other) => Err(other.into()),
        }
    }

    /// The revision of the last transaction.
    pub(super) fn newest(&self) -> Result<Revision, Failure> {
        self.number(META_NEWEST)
    }

    /// The revision up to which the history is gone.
    pub(super) fn compacted(&self) -> Result<Revision, Failure> {
        self.number(META_COMPACTED)
    }

    fn number(&self, name: &str) -> Result<Revision, Failure> {
        let meta = self.0.open_table(META)?;
        Ok(Revision(meta.get(name)?.map_or(0, |number| number.value())))
    }

    /// One record.
    pub(super) fn get(&self, key: &str) -> Result<Option<Entry>, Failure> {
        let records = self.0.open_table(RECORDS)?;
        Ok(records.get(key)?.map(|record| entry(key, record.value())))
    }

    /// All records under the prefix.
    pub(super) fn list(&self, prefix: &str) -> Result<Listing, Failure> {
        let records = self.0.open_table(RECORDS)?;
        let mut entries = Vec::new();
        for record in records.range(prefix..)? {
            let (key, value) = record?;
            if !key.value().starts_with(prefix) {
                break;
            }
            entries.push(entry(key.value(), value.value()));
        }
        Ok(Listing { entries, revision: self.newest()? })
    }

    /// Changes of the revision `from` and later that are under the prefix, and the revision to go on with. Stops after a
    /// page, but never within a transaction.
    pub(super) fn changes(
        &self,
        prefix: &str,
        from: u64,
    ) -> Result<(Vec<StoreChange>, u64), Failure> {
        let compacted = self.compacted()?;
        if from <= compacted.0 {
            let (after, oldest) = (Revision(from.saturating_sub(1)), Revision(compacted.0 + 1));
            return Err(Failure::Store(StoreError::Compacted { after, oldest }));
        }
        let log = self.0.open_table(LOG)?;
        let mut found: Vec<StoreChange> = Vec::new();
        let (mut last, mut n_read, mut bytes) = (from, 0, 0);
        for change in log.range((from, 0)..)? {
            let (at, change) = change?;
            let (revision, _) = at.value();
            if revision != last && (n_read >= PAGE_CHANGES || bytes >= PAGE_BYTES) {
                return Ok((found, revision));
            }
            let (key, value) = change.value();
            n_read += 1;
            if key.starts_with(prefix) {
                if let Some(before) = found.last_mut() {
                    before.more = before.revision.0 == revision;
                }
                bytes += key.len() + value.map_or(0, <[u8]>::len);
                let value = value.map(Bytes::copy_from_slice);
                found.push(StoreChange {
                    revision: Revision(revision),
                    key: key.to_owned(),
                    value,
                    more: false,
                });
            }
            last = revision;
        }
        Ok((found, self.newest()?.0 + 1))
    }

    /// Reads everything once; an error names what is wrong. What redb's own check cannot know is that tables belong
    /// together.
    pub(super) fn verify(&self) -> Result<(), Failure> {
        let corrupted =
            |reason: &str| Err(Failure::Redb(redb::Error::Corrupted(reason.to_owned())));
        let newest = self.newest()?.0;
        for record in self.0.open_table(RECORDS)?.range::<&str>(..)? {
            if record?.1.value().0 > newest {
                return corrupted("a record is newer than the store");
            }
        }
        if let Some(last) = self.0.open_table(LOG)?.last()?
            && last.0.value().0 > newest
        {
            return corrupted("the history is newer than the store");
        }
        if self.compacted()?.0 > newest {
            return corrupted("the history was cut after its end");
        }
        Ok(())
    }
}

fn entry(key: &str, (revision, value): (u64, &[u8])) -> Entry {
    Entry {
        key: key.to_owned(),
        value: Bytes::copy_from_slice(value),
        revision: Revision(revision),
    }
}

/// Makes the tables of an empty store.
pub(super) fn create(transaction: &WriteTransaction) -> Result<(), Failure> {
    transaction.open_table(META)?.insert(META_VERSION, VERSION)?;
    Tables::open(transaction)?;
    Ok(())
}

/// All tables, to be changed together.
pub(super) struct Tables<'t> {
    meta: Table<'t, &'static str, u64>,
    records: Table<'t, &'static str, (u64, &'static [u8])>,
    log: Table<'t, (u64, u32), Logged<'static>>,
    requests: Table<'t, &'static str, u64>,
    requests_by_age: Table<'t, u64, &'static str>,
    newest: u64,
}

/// What became of a transaction.
pub(super) enum Outcome {
    /// It was made now.
    Made(Revision),
    /// It was made when its request came the first time.
    Before(Revision),
    /// A check on this key did not hold.
    Conflict(String),
}

impl<'t> Tables<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, Failure> {
        let meta = transaction.open_table(META)?;
        let newest = meta.get(META_NEWEST)?.map_or(0, |revision| revision.value());
        Ok(Self {
            meta,
            records: transaction.open_table(RECORDS)?,
            log: transaction.open_table(LOG)?,
            requests: transaction.open_table(REQUESTS)?,
            requests_by_age: transaction.open_table(REQUESTS_BY_AGE)?,
            newest,
        })
    }

    /// Makes the transaction, unless it was made before or a check fails.
    pub(super) fn make(&mut self, transaction: &Transaction) -> Result<Outcome, Failure> {
        let request = transaction.request.0.as_str();
        if let Some(before) = self.requests.get(request)? {
            return Ok(Outcome::Before(Revision(before.value())));
        }
        for check in &transaction.checks {
            let now =
                self.records.get(check.key.as_str())?.map(|record| Revision(record.value().0));
            if now != check.revision {
                return Ok(Outcome::Conflict(check.key.clone()));
            }
        }
        self.newest += 1;
        let revision = self.newest;
        let mut idx = 0;
        for write in &transaction.writes {
            let key = write.key.as_str();
            let changed = match &write.value {
                Some(value) => {
                    self.records.insert(key, (revision, value.as_ref()))?;
                    true
                }
                None => self.records.remove(key)?.is_some(),
            };
            if changed {
                self.log.insert((revision, idx), (key, write.value.as_deref()))?;
                idx += 1;
            }
        }
        self.requests.insert(request, revision)?;
        self.requests_by_age.insert(revision, request)?;
        Ok(Outcome::Made(Revision(revision)))
    }

    /// Writes the newest revision down and forgets what is older than the history. To be called once, at the end.
    pub(super) fn finish(mut self, history: History) -> Result<Revision, Failure> {
        self.meta.insert(META_NEWEST, self.newest)?;
        let compacted = self.newest.saturating_sub(history.changes);
        if compacted > 0 {
            self.log.retain_in(..(compacted + 1, 0), |_, _| false)?;
            self.meta.insert(META_COMPACTED, compacted)?;
        }
        let forgotten = self.newest.saturating_sub(history.requests);
        for old in self.requests_by_age.extract_from_if(..=forgotten, |_, _| true)? {
            self.requests.remove(old?.1.value())?;
        }
        Ok(Revision(self.newest))
    }
}
