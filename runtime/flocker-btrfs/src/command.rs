//! Runs the `btrfs` command, and says what it meant when it failed.

use std::{
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
};

use flocker_ports::BackendError;
use flocker_system::command::{command, output, tail};

/// The `btrfs` command for one pool.
#[derive(Debug, Clone)]
pub(crate) struct Btrfs {
    pub(crate) program: PathBuf,
    /// What errors call the pool.
    pub(crate) pool: String,
}

impl Btrfs {
    /// Runs `btrfs ARGS`; `action` says for people what could not be done if it fails.
    pub(crate) async fn run<A: AsRef<OsStr>>(
        &self,
        action: &str,
        args: &[A],
    ) -> Result<String, BackendError> {
        let mut command = command(&self.program);
        command.args(args);
        let output =
            output(command).await.map_err(|error| self.io(action, &self.program, &error))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(self.explain(action, &output.stderr, &output.status.to_string()))
    }

    /// Whether there is something at `path`. What cannot be looked at is an error: taken for nothing, it could be
    /// replaced by something else.
    pub(crate) fn is_there(&self, path: &Path) -> Result<bool, BackendError> {
        path.try_exists().map_err(|error| self.io("could not look for a subvolume", path, &error))
    }

    /// What a failed `btrfs` meant, from what it printed.
    pub(crate) fn explain(&self, action: &str, stderr: &[u8], status: &str) -> BackendError {
        let text = tail(stderr);
        if text.contains("No space left on device") || text.contains("Disk quota exceeded") {
            return BackendError::PoolFull { pool: self.pool.clone() };
        }
        let hint = if text.contains("Read-only file system") { READ_ONLY } else { "" };
        BackendError::Failed {
            action: action.to_owned(),
            reason: format!("`btrfs` ended with {status}: {text}{hint}"),
        }
    }

    /// What a failed system call meant.
    pub(crate) fn io(&self, action: &str, path: &Path, error: &io::Error) -> BackendError {
        if is_full(error) {
            return BackendError::PoolFull { pool: self.pool.clone() };
        }
        io_failure(action, path, error)
    }
}

/// A system call on `path` failed.
pub(crate) fn io_failure(action: &str, path: &Path, error: &io::Error) -> BackendError {
    BackendError::Failed {
        action: action.to_owned(),
        reason: format!("`{}`: {error}{}", path.display(), hint(error)),
    }
}

/// Whether there was no room, of the pool's or of a quota's.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// What to do about a failed system call; nothing where the error says it all.
fn hint(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::ReadOnlyFilesystem { READ_ONLY } else { "" }
}

/// The kernel makes a btrfs read-only when its disk failed it; only a new mount makes it writable again.
const READ_ONLY: &str = "\nhint: the pool is mounted read-only; `dmesg` says whether its disk failed, and a pool that is \
                         sound is writable again once it was unmounted and `flocker-runtime` started anew";
