//! The contract on the embedded store, and what only a store in a file can get wrong.

mod crash;
mod damage;
mod disk;

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use flocker_ports::{
    RequestId, Store, Transaction, Write, contract::store::StoreHarness, store_contract,
};
use redb::{ReadableDatabase, ReadableTableMetadata, TableHandle};
use tempfile::TempDir;

use super::{EmbeddedStore, History};

/// Small, so that tests outgrow it quickly.
pub(crate) const HISTORY: History = History { changes: 64, requests: 200 };

/// A store in a folder of its own.
#[derive(Debug)]
pub(crate) struct Harness {
    folder: TempDir,
    history: History,
    store: Option<Arc<EmbeddedStore>>,
}

impl Harness {
    pub(crate) async fn fresh() -> Self {
        Self::with(HISTORY).await
    }

    pub(crate) async fn with(history: History) -> Self {
        let mut harness = Self { folder: tempfile::tempdir().unwrap(), history, store: None };
        harness.restart().await;
        harness
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("store.redb")
    }

    /// Closes the file.
    pub(crate) async fn close(&mut self) {
        let store = self
            .store
            .take()
            .map(|store| Arc::into_inner(store).expect("nobody else uses the store"));
        tokio::task::spawn_blocking(move || drop(store)).await.unwrap();
    }
}

#[async_trait]
impl StoreHarness for Harness {
    fn store(&self) -> Arc<dyn Store> {
        self.store.clone().unwrap()
    }

    async fn restart(&mut self) {
        self.close().await;
        self.store =
            Some(Arc::new(EmbeddedStore::open_with(&self.path(), self.history).await.unwrap()));
    }

    fn history(&self) -> u64 {
        self.history.changes
    }
}

/// Writes `value` to `key`, under the request id `key=value`.
pub(crate) fn put(key: &str, value: &str) -> Transaction {
    let value_bytes = Some(Bytes::copy_from_slice(value.as_bytes()));
    Transaction {
        request: RequestId(format!("{key}={value}")),
        checks: vec![],
        writes: vec![Write { key: key.to_owned(), value: value_bytes }],
    }
}

store_contract!(tokio::test, Harness::fresh);

/// Given far more transactions than are kept, log and request ids are as long as they may be and no longer.
#[tokio::test]
async fn the_past_takes_a_bounded_space() {
    let mut harness = Harness::fresh().await;
    for i in 0..500 {
        harness.store().commit(put("x", &i.to_string())).await.unwrap();
    }
    harness.close().await;

    let database = redb::Database::open(harness.path()).unwrap();
    let reading = database.begin_read().unwrap();

    for (table, len) in [
        ("log", HISTORY.changes),
        ("requests", HISTORY.requests),
        ("requests_by_age", HISTORY.requests),
    ] {
        let handles = reading.list_tables().unwrap();
        let handle = handles.into_iter().find(|handle| handle.name() == table).unwrap();
        assert_eq!(reading.open_untyped_table(handle).unwrap().len().unwrap(), len, "{table}");
    }
}

/// A watch does not keep a store open, and says so when it is gone.
#[tokio::test]
async fn a_watch_of_a_closed_store_ends_with_an_error() {
    use futures::StreamExt;
    let mut harness = Harness::fresh().await;
    let mut watch = harness.store().watch("", flocker_model::Revision(0)).await.unwrap();

    harness.close().await;

    assert!(watch.next().await.unwrap().is_err());
    assert!(watch.next().await.is_none());
    harness.restart().await;
}
