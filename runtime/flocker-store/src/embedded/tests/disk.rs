//! A disk whose syncs fail.

use std::{
    io,
    ops::Bound,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use flocker_ports::{Store, StoreError};
use redb::{BackendError, Database, StorageBackend, backends::FileBackend};

use super::{EmbeddedStore, HISTORY, put};
use crate::embedded::file::StoreFile;

/// A file whose next so many syncs fail.
#[derive(Debug)]
struct Flaky {
    file: FileBackend,
    failures: Arc<AtomicU32>,
}

impl StorageBackend for Flaky {
    fn len(&self) -> Result<u64, io::Error> {
        self.file.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.file.read(offset, out)
    }
    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.file.set_len(len)
    }
    fn sync_data(&self) -> Result<(), io::Error> {
        let failing =
            self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        if failing.is_ok() { Err(io::Error::from_raw_os_error(5)) } else { self.file.sync_data() }
    }
    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.file.write(offset, data)
    }
    fn close(&self) -> Result<(), io::Error> {
        self.file.close()
    }
    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }
    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }
    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }
    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }
    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }
    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}

/// A store on such a disk, and how many of its next syncs fail.
async fn flaky(folder: &tempfile::TempDir) -> (EmbeddedStore, Arc<AtomicU32>) {
    let failures = Arc::new(AtomicU32::new(0));
    let shared = Arc::clone(&failures);
    let open = move |file| {
        Database::builder().create_with_backend(Flaky { file, failures: Arc::clone(&shared) })
    };
    let file = StoreFile::on(&folder.path().join("store.redb"), Box::new(open));
    let store =
        tokio::task::spawn_blocking(|| EmbeddedStore::start(file, HISTORY)).await.unwrap().unwrap();
    (store, failures)
}

/// Given a sync that fails once, the file is opened anew and the commit made, once.
#[tokio::test]
async fn a_commit_outlives_a_failed_sync() {
    let folder = tempfile::tempdir().unwrap();
    let (store, failures) = flaky(&folder).await;
    store.commit(put("x", "1")).await.unwrap();

    failures.store(1, Ordering::SeqCst);
    let answer = store.commit(put("x", "2")).await;

    assert_eq!(answer.unwrap().0, 2);
    assert_eq!(failures.load(Ordering::SeqCst), 0, "no sync failed");
    assert_eq!(store.get("x").await.unwrap().unwrap().value, "2");
    assert_eq!(store.commit(put("x", "1")).await.unwrap().0, 1, "an old request was forgotten");
}

/// Given a disk that fails for long, commits are refused with an error, nothing that was acknowledged is lost, and the
/// same request is made, once, when the disk is back.
#[tokio::test]
async fn a_dead_disk_acknowledges_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (store, failures) = flaky(&folder).await;
    store.commit(put("x", "1")).await.unwrap();

    failures.store(u32::MAX, Ordering::SeqCst);
    let dead = store.commit(put("x", "2")).await;
    failures.store(0, Ordering::SeqCst);
    let again = store.commit(put("x", "2")).await;

    assert!(matches!(dead, Err(StoreError::Failed { .. })), "got {dead:?}");
    assert_eq!(again.unwrap().0, 2);
    assert_eq!(store.list("").await.unwrap().revision.0, 2);
    drop(store);
    let store = EmbeddedStore::open(&folder.path().join("store.redb")).await.unwrap();
    assert_eq!(store.get("x").await.unwrap().unwrap().value, "2");
}

/// Reads go on, or fail with an error, while the disk is dead; they never show what was not acknowledged and lost.
#[tokio::test]
async fn reads_recover_with_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let (store, failures) = flaky(&folder).await;
    store.commit(put("x", "1")).await.unwrap();
    failures.store(u32::MAX, Ordering::SeqCst);
    store.commit(put("x", "2")).await.unwrap_err();

    failures.store(0, Ordering::SeqCst);

    // The first read may only find out that the file is shut; it makes the writer open it again.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let entry = loop {
        match store.get("x").await {
            Ok(entry) => break entry.unwrap(),
            Err(error) => assert!(std::time::Instant::now() < deadline, "still {error}"),
        }
        tokio::task::yield_now().await;
    };
    assert!(entry.value == "1" || entry.value == "2", "got {entry:?}");
}
