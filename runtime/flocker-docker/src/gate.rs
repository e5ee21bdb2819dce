//! The host's side of the gates: one folder per container with the gate's program, the FIFO that opens it, and the mark
//! that it was opened.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use flocker_gate::{FIFO, PROGRAM};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tokio::{
    io::Interest,
    net::unix::pipe::{OpenOptions, Sender},
    time::{Instant, sleep, timeout_at},
};

/// Names the start for which the gate was opened, so that the next start is gated again, whoever makes it.
const OPENED: &str = "opened";

/// Time between two looks for a gate that has just been started: it opens its FIFO a few milliseconds later.
const LOOK: Duration = Duration::from_millis(1);

/// The gates of one node.
#[derive(Debug, Clone)]
pub(crate) struct Gates {
    program: PathBuf,
    folder: PathBuf,
}

/// How the first process of a container stands towards its gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is the gate, or on its way there.
    Waiting,
    /// It is the app.
    Passed,
    /// It has ended, though Docker may not know yet.
    Ended,
}

impl Gates {
    pub(crate) fn new(program: PathBuf, state_dir: &Path) -> Self {
        Self { program, folder: state_dir.join("gates") }
    }

    /// The folder that a container sees as its gate.
    pub(crate) fn folder(&self, container: &str) -> PathBuf {
        self.folder.join(container)
    }

    /// An empty folder that is mounted, read-only, wherever a volume will be: an app that came to run without its volume
    /// could write nothing.
    pub(crate) fn placeholder(&self) -> PathBuf {
        self.folder.with_file_name("placeholder")
    }

    /// Whether the container's gate is whole.
    pub(crate) fn is_prepared(&self, container: &str) -> bool {
        self.folder(container).join(FIFO).exists()
    }

    /// Makes the gate of a container that does not exist yet.
    pub(crate) fn prepare(&self, container: &str) -> io::Result<()> {
        self.discard(container)?;
        let placeholder = self.placeholder();
        fs::create_dir_all(&placeholder)?;
        fs::set_permissions(&placeholder, fs::Permissions::from_mode(0o555))?;
        fs::create_dir_all(&self.folder)?;
        fs::set_permissions(&self.folder, fs::Permissions::from_mode(0o700))?;

        let folder = self.folder(container);
        fs::create_dir(&folder)?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))?;
        let program = folder.join(PROGRAM);
        fs::copy(&self.program, &program).map_err(|error| {
            io::Error::new(error.kind(), format!("`{}`: {error}", self.program.display()))
        })?;
        // The gate runs as the container's own user.
        fs::set_permissions(program, fs::Permissions::from_mode(0o555))?;
        let fifo = folder.join(FIFO);
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR, 0)?;
        fs::set_permissions(fifo, fs::Permissions::from_mode(0o444))
    }

    /// Removes the gate of a container that is gone.
    pub(crate) fn discard(&self, container: &str) -> io::Result<()> {
        gone_is_fine(fs::remove_dir_all(self.folder(container)))
    }

    /// From now on the container counts as gated, until it is opened again.
    pub(crate) fn close(&self, container: &str) -> io::Result<()> {
        gone_is_fine(fs::remove_file(self.folder(container).join(OPENED)))
    }

    /// Marks that the gate is about to be opened for the start at `started`. Must come before the order: an app that runs
    /// without the mark would be taken for a gate.
    pub(crate) fn mark_opened(&self, container: &str, started: &str) -> io::Result<()> {
        let folder = self.folder(container);
        let new = folder.join("opened.new");
        fs::write(&new, started)?;
        fs::rename(new, folder.join(OPENED))
    }

    /// Whether the app runs. The mark alone says that it may; the executable alone could be Docker's own, which becomes
    /// the gate a moment after the start.
    pub(crate) fn standing(
        &self,
        container: &str,
        pid: i32,
        started: &str,
    ) -> io::Result<Standing> {
        let running = match fs::metadata(format!("/proc/{pid}/exe")) {
            Ok(running) => running,
            Err(error) if is_gone(&error) => return Ok(Standing::Ended),
            Err(error) => return Err(error),
        };
        let folder = self.folder(container);
        let marked = match fs::read_to_string(folder.join(OPENED)) {
            Ok(mark) => mark == started,
            Err(error) if is_gone(&error) => false,
            Err(error) => return Err(error),
        };
        if !marked {
            return Ok(Standing::Waiting);
        }
        let gate = fs::metadata(folder.join(PROGRAM))?;
        let is_gate = (running.dev(), running.ino()) == (gate.dev(), gate.ino());
        Ok(if is_gate { Standing::Waiting } else { Standing::Passed })
    }

    /// Takes hold of a waiting gate. Dropped without an order, it goes on waiting.
    pub(crate) async fn reach(&self, container: &str, limit: Duration) -> io::Result<Waiting> {
        let fifo = self.folder(container).join(FIFO);
        let deadline = Instant::now() + limit;
        loop {
            match OpenOptions::new().open_sender(&fifo) {
                Ok(order) => return Ok(Waiting { order }),
                // Nobody reads yet.
                Err(error)
                    if error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error()) => {}
                Err(error) => return Err(error),
            }
            if Instant::now() >= deadline {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "no gate waits in it"));
            }
            sleep(LOOK).await;
        }
    }
}

/// A gate that waits for its order.
#[derive(Debug)]
pub(crate) struct Waiting {
    order: Sender,
}

impl Waiting {
    /// Gives the order, and returns when the gate has become the app or has ended: both close its end of the FIFO.
    pub(crate) async fn open(self, order: &flocker_gate::Order, limit: Duration) -> io::Result<()> {
        let deadline = Instant::now() + limit;
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "the gate did not act on its order");
        let bytes = order.encode();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            timeout_at(deadline, self.order.writable()).await.map_err(late)??;
            match self.order.try_write(rest) {
                Ok(n_written) => rest = &rest[n_written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        timeout_at(deadline, self.order.ready(Interest::ERROR)).await.map_err(late)??;
        Ok(())
    }
}

fn gone_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}
