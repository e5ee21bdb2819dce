//! A store file that is opened on trial: what redb would write stays in memory, so a file that turns out to be damaged
//! is left as it was, byte by byte.

use std::{
    collections::BTreeMap,
    io,
    ops::Bound,
    sync::{Mutex, MutexGuard, PoisonError},
};

use redb::{BackendError, StorageBackend, backends::FileBackend};

/// Bytes that are kept together in memory once one of them was written.
const BLOCK: usize = 4096;

/// The file, and what was written over it.
#[derive(Debug)]
pub(super) struct Trial {
    file: FileBackend,
    over: Mutex<Overlay>,
}

#[derive(Debug)]
struct Overlay {
    len: u64,
    /// The file counts up to here; what lies behind reads as zero, although the file may be longer.
    file_len: u64,
    blocks: BTreeMap<u64, Box<[u8; BLOCK]>>,
}

impl Trial {
    pub(super) fn new(file: FileBackend) -> io::Result<Self> {
        let len = file.len()?;
        Ok(Self { file, over: Mutex::new(Overlay { len, file_len: len, blocks: BTreeMap::new() }) })
    }

    fn over(&self) -> MutexGuard<'_, Overlay> {
        self.over.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The block as it would be in the file.
    fn block(&self, over: &Overlay, at: u64) -> io::Result<Box<[u8; BLOCK]>> {
        if let Some(block) = over.blocks.get(&at) {
            return Ok(block.clone());
        }
        let mut block = Box::new([0; BLOCK]);
        let start = at * BLOCK as u64;
        let here = usize::try_from(over.file_len.saturating_sub(start)).unwrap_or(BLOCK).min(BLOCK);
        if let Some(part) = block.get_mut(..here).filter(|part| !part.is_empty()) {
            self.file.read(start, part)?;
        }
        Ok(block)
    }
}

/// The parts of `[offset, offset + len)` by block: which block, where in it, and where in the whole.
fn parts(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, usize, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done >= len {
            return None;
        }
        let at = offset + done as u64;
        // Less than a block, so it fits any number type.
        let within = (at % BLOCK as u64) as usize;
        let n = (BLOCK - within).min(len - done);
        let part = (at / BLOCK as u64, within, done, n);
        done += n;
        Some(part)
    })
}

impl StorageBackend for Trial {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.over().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let over = self.over();
        if offset.checked_add(out.len() as u64).is_none_or(|end| end > over.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (at, within, done, n) in parts(offset, out.len()) {
            let block = self.block(&over, at)?;
            out[done..done + n].copy_from_slice(&block[within..within + n]);
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        let mut over = self.over();
        over.len = len;
        over.file_len = over.file_len.min(len);
        // What is cut off reads as zero when the file grows again.
        over.blocks.retain(|at, _| at * (BLOCK as u64) < len);
        let (last, within) = (len / BLOCK as u64, (len % BLOCK as u64) as usize);
        if let Some(block) = over.blocks.get_mut(&last) {
            block[within..].fill(0);
        }
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        let mut over = self.over();
        for (at, within, done, n) in parts(offset, data.len()) {
            let mut block = self.block(&over, at)?;
            block[within..within + n].copy_from_slice(&data[done..done + n]);
            over.blocks.insert(at, block);
        }
        over.len = over.len.max(offset + data.len() as u64);
        Ok(())
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
