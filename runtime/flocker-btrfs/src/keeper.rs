//! Keeps the skeleton of a stream on disk while the stream goes on. A favour to a later attempt: it holds up the
//! stream only where the disk is far slower, and where it cannot go on, the stream does.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::sync::{OwnedMutexGuard, mpsc};

use crate::skeleton::Splitter;

/// So much of a skeleton is written at once: a page, for about two megabytes of a stream of large files. They are what a
/// killed program loses. Written with every chunk of the stream, it would cost an increment a tenth of its speed.
const PART: usize = 4 << 10;

/// Parts that wait for the disk.
const QUEUE: usize = 16;

/// Takes the skeleton out of a stream, and has a thread write it. Dropped, all that it took is written.
#[derive(Debug)]
pub(crate) struct Keeper {
    splitter: Splitter,
    part: Vec<u8>,
    parts: mpsc::Sender<Vec<u8>>,
}

impl Keeper {
    /// Keeps the skeleton in the file at `path`, behind what it has, in at most `room` bytes more. Holds on to `guard`
    /// until nothing more will be written.
    pub(crate) fn begin(
        path: PathBuf,
        held: bool,
        room: u64,
        guard: Arc<OwnedMutexGuard<()>>,
    ) -> Self {
        let (parts, incoming) = mpsc::channel(QUEUE);
        tokio::task::spawn_blocking(move || {
            let _guard = guard;
            if let Err(error) = keep(&path, room, incoming) {
                tracing::info!(path = %path.display(), %error, "no more of a stream is kept for a later attempt");
            }
        });
        Self { splitter: Splitter::new(held), part: Vec::with_capacity(2 * PART), parts }
    }

    /// Takes the next chunk, and waits where the disk is slower than the stream. False when it takes no more.
    pub(crate) async fn take(&mut self, chunk: &[u8]) -> bool {
        if self.splitter.split(chunk, &mut self.part).is_err() {
            return false;
        }
        if self.part.len() < PART {
            return true;
        }
        let next = Vec::with_capacity(2 * PART);
        self.parts.send(std::mem::replace(&mut self.part, next)).await.is_ok()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // Where the disk is that far behind, the rest is sent again.
        let _ = self.parts.try_send(std::mem::take(&mut self.part));
    }
}

fn keep(path: &Path, mut room: u64, mut parts: mpsc::Receiver<Vec<u8>>) -> io::Result<()> {
    let mut file = File::options().create(true).append(true).open(path)?;
    while let Some(part) = parts.blocking_recv() {
        let Some(rest) = room.checked_sub(part.len() as u64) else { break };
        room = rest;
        file.write_all(&part)?;
    }
    Ok(())
}
