//! Keeps the skeleton of a stream on disk while the stream goes on. A favour to a later attempt: it holds up nobody, and
//! where it cannot go on, the stream does.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use tokio::sync::{OwnedMutexGuard, mpsc};

use crate::skeleton::Splitter;

/// Chunks that wait for the disk: with those of a quarter of a megabyte that the transport brings, 2 MiB for each stream.
const QUEUE: usize = 8;

/// A thread that keeps chunks. Dropped, it writes what it was given, and ends.
#[derive(Debug)]
pub(crate) struct Keeper(mpsc::Sender<Bytes>);

impl Keeper {
    /// Keeps the skeleton in the file at `path`, behind what it has, in at most `room` bytes more. Holds on to `guard`
    /// until nothing more will be written.
    pub(crate) fn begin(
        path: PathBuf,
        held: bool,
        room: u64,
        guard: Arc<OwnedMutexGuard<()>>,
    ) -> Self {
        let (chunks, incoming) = mpsc::channel(QUEUE);
        tokio::task::spawn_blocking(move || {
            let _guard = guard;
            if let Err(error) = keep(&path, held, room, incoming) {
                tracing::info!(path = %path.display(), %error, "no more of a stream is kept for a later attempt");
            }
        });
        Self(chunks)
    }

    /// Gives it the next chunk, and waits where the disk is slower than the stream. False when it takes no more.
    pub(crate) async fn take(&self, chunk: Bytes) -> bool {
        self.0.send(chunk).await.is_ok()
    }
}

fn keep(
    path: &Path,
    held: bool,
    mut room: u64,
    mut chunks: mpsc::Receiver<Bytes>,
) -> io::Result<()> {
    let mut file = File::options().create(true).append(true).open(path)?;
    let (mut splitter, mut skeleton) = (Splitter::new(held), Vec::new());
    while let Some(chunk) = chunks.blocking_recv() {
        splitter.split(&chunk, &mut skeleton).map_err(io::Error::other)?;
        let Some(rest) = room.checked_sub(skeleton.len() as u64) else { break };
        room = rest;
        file.write_all(&skeleton)?;
        skeleton.clear();
    }
    Ok(())
}
