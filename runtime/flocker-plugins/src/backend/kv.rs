//! A small durable store of a backend's own. One file, replaced whole: a power cut leaves the old one or the new one.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use flocker_model::ByteSize;
use serde::{Deserialize, Serialize};

/// A key is a name, not a document.
const KEY_BYTES_MAX: usize = 1 << 10;
/// Keys that one call answers.
const KEYS_MAX: usize = 1000;
/// The whole is written at each change, so it must be small.
pub(crate) const QUOTA_MAX: ByteSize = ByteSize::mib(16);
const VERSION: u32 = 1;

/// The store of one plugin. Clones are the same store.
#[derive(Debug, Clone)]
pub(crate) struct Kv(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    quota: ByteSize,
    entries: BTreeMap<String, Vec<u8>>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    entries: BTreeMap<String, Vec<u8>>,
}

/// Why a change was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KvError {
    #[error("the key has {0} bytes, at most {KEY_BYTES_MAX} are allowed")]
    Key(usize),
    #[error("its store would hold {would} bytes, {quota} bytes were granted (`kv=SIZE`)")]
    Quota { would: u64, quota: u64 },
    #[error("its store `{}` cannot be written: {error}", path.display())]
    Disk { path: PathBuf, error: io::Error },
}

impl Kv {
    /// Reads what was stored.
    ///
    /// # Errors
    /// The file is damaged or cannot be read: it is never taken for an empty one.
    pub(crate) fn open(path: &Path, quota: ByteSize) -> io::Result<Self> {
        let entries = load(path)?;
        let path = path.to_owned();
        Ok(Self(Arc::new(Mutex::new(Inner { path, quota, entries }))))
    }

    pub(crate) fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.lock().entries.get(key).cloned()
    }

    /// Puts `value` (or nothing) in the place of `expect` (or nothing). False when something else is there.
    pub(crate) fn swap(
        &self,
        key: String,
        expect: Option<&[u8]>,
        value: Option<Vec<u8>>,
    ) -> Result<bool, KvError> {
        if key.len() > KEY_BYTES_MAX {
            return Err(KvError::Key(key.len()));
        }
        let mut inner = self.lock();
        if inner.entries.get(&key).map(Vec::as_slice) != expect {
            return Ok(false);
        }
        let mut entries = inner.entries.clone();
        match value {
            Some(value) => entries.insert(key, value),
            None => entries.remove(&key),
        };
        let bytes = size(&entries);
        // An operator may have granted less than there is: it can still be made smaller.
        if bytes > inner.quota.0 && bytes >= size(&inner.entries) {
            return Err(KvError::Quota { would: bytes, quota: inner.quota.0 });
        }
        let stored = Stored { version: VERSION, entries };
        if let Err(error) = write(&inner.path, &stored) {
            // Which of the two is on the disk now, only the disk can tell.
            let path = inner.path.clone();
            let disk = |error| KvError::Disk { path: path.clone(), error };
            inner.entries = load(&path).map_err(disk)?;
            return Err(disk(error));
        }
        inner.entries = stored.entries;
        Ok(true)
    }

    pub(crate) fn keys(&self, prefix: &str, after: Option<&str>, limit: u32) -> Vec<String> {
        let limit = usize::try_from(limit).unwrap_or(KEYS_MAX).min(KEYS_MAX);
        let inner = self.lock();
        let wanted = inner.entries.keys().filter(|key| key.starts_with(prefix));
        wanted
            .filter(|key| after.is_none_or(|after| key.as_str() > after))
            .take(limit)
            .cloned()
            .collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        // The entries are replaced in one go, after the file was.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn size(entries: &BTreeMap<String, Vec<u8>>) -> u64 {
    entries.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum()
}

fn load(path: &Path) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error),
    };
    let damaged = || io::Error::other("it is damaged, or of another version");
    let (body, sum) = bytes.split_last_chunk().ok_or_else(damaged)?;
    if crc32fast::hash(body).to_le_bytes() != *sum {
        return Err(damaged());
    }
    let stored: Stored = postcard::from_bytes(body).map_err(io::Error::other)?;
    if stored.version == VERSION { Ok(stored.entries) } else { Err(damaged()) }
}

fn write(path: &Path, stored: &Stored) -> io::Result<()> {
    let mut bytes = postcard::to_allocvec(stored).map_err(io::Error::other)?;
    let sum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    replace(path, &bytes)
}

/// Puts `bytes` in the place of the file at `path`, durably and at once.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(folder: &tempfile::TempDir) -> io::Result<Kv> {
        Kv::open(&folder.path().join("kv"), ByteSize(20))
    }

    fn some(text: &str) -> Option<Vec<u8>> {
        Some(text.as_bytes().to_vec())
    }

    #[test]
    fn a_swap_counts_only_against_what_was_expected_and_survives() {
        let folder = tempfile::tempdir().unwrap();
        let kv = open(&folder).unwrap();

        assert!(kv.swap("a".into(), None, some("1")).unwrap());
        assert!(!kv.swap("a".into(), None, some("2")).unwrap());
        assert!(!kv.swap("a".into(), Some(b"2"), some("3")).unwrap());
        assert!(kv.swap("a".into(), Some(b"1"), some("2")).unwrap());
        assert!(kv.swap("b".into(), None, some("x")).unwrap());
        assert!(kv.swap("b".into(), Some(b"x"), None).unwrap());

        let again = open(&folder).unwrap();
        assert_eq!((again.get("a"), again.get("b")), (some("2"), None));
    }

    #[test]
    fn the_quota_is_kept_and_leaves_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let kv = open(&folder).unwrap();
        assert!(kv.swap("a".into(), None, some("123456789")).unwrap());

        let refused = kv.swap("b".into(), None, some("1234567890")).unwrap_err();

        assert!(matches!(refused, KvError::Quota { would: 21, quota: 20 }), "{refused}");
        assert_eq!(open(&folder).unwrap().keys("", None, 10), ["a"]);
        assert!(matches!(kv.swap("k".repeat(2000), None, None), Err(KvError::Key(2000))));

        let less = Kv::open(&folder.path().join("kv"), ByteSize(1)).unwrap();
        assert!(less.swap("a".into(), Some(b"123456789"), some("12")).unwrap());
        assert!(less.swap("a".into(), Some(b"12"), some("21")).is_err());
    }

    #[test]
    fn keys_are_paged_by_prefix() {
        let folder = tempfile::tempdir().unwrap();
        let kv = open(&folder).unwrap();
        for key in ["v/a", "v/b", "v/c", "w"] {
            kv.swap(key.into(), None, some("")).unwrap();
        }
        assert_eq!(kv.keys("v/", None, 2), ["v/a", "v/b"]);
        assert_eq!(kv.keys("v/", Some("v/b"), 2), ["v/c"]);
    }

    #[test]
    fn damage_is_never_taken_for_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kv");
        open(&folder).unwrap().swap("a".into(), None, some("1")).unwrap();
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, &bad).unwrap();
            assert!(open(&folder).is_err(), "byte {at}");
            fs::write(&path, &good[..at]).unwrap();
            assert!(open(&folder).is_err(), "{at} bytes");
        }
    }
}
