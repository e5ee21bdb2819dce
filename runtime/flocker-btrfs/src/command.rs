//! Runs the `btrfs` command and its neighbours: by absolute path, with an empty environment and bounded output.

use std::{
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use flocker_ports::BackendError;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::Command,
    time::timeout,
};

/// A listing of a hundred thousand subvolumes fits; a program that went mad does not fill the memory.
const STDOUT_MAX: u64 = 32 << 20;
/// Only its end is shown to people.
const STDERR_MAX: u64 = 64 << 10;
/// Far above what any command here needs on a disk that works.
const PATIENCE: Duration = Duration::from_secs(120);

/// The places where distributions put programs for administrators.
const FOLDERS: [&str; 6] =
    ["/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/local/bin", "/usr/local/sbin"];

/// Finds a program without looking at `PATH`, which a service may not have.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    FOLDERS.iter().map(|folder| Path::new(folder).join(program)).find(|path| path.is_file())
}

/// A program with nothing of our environment in it.
pub(crate) fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Runs it to its end. Dropped before, the program is killed.
pub(crate) async fn output(mut command: Command) -> io::Result<Output> {
    let mut child = command.spawn()?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let all = async {
        let (stdout, stderr) =
            tokio::join!(read_at_most(stdout, STDOUT_MAX), read_at_most(stderr, STDERR_MAX));
        let (stdout, stderr) = (stdout?, stderr?);
        Ok(Output { status: child.wait().await?, stdout, stderr })
    };
    timeout(PATIENCE, all).await.unwrap_or_else(|_| {
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("no answer within {} s", PATIENCE.as_secs()),
        ))
    })
}

async fn read_at_most(pipe: Option<impl AsyncRead + Unpin>, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(bytes_max + 1).read_to_end(&mut bytes).await?;
    }
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::other("it printed more than it could have had reason to"));
    }
    Ok(bytes)
}

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

/// The last lines of what a program printed, as one line.
pub(crate) fn tail(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(3)..].join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_that_never_stops_printing_is_ended() {
        let mut endless = command(Path::new("/bin/sh"));
        endless.args(["-c", "while :; do echo 0123456789012345678901234567890123456789 >&2; done"]);

        let error = output(endless).await.unwrap_err();

        assert!(error.to_string().contains("more than"), "{error}");
    }

    #[tokio::test]
    async fn programs_see_nothing_of_our_environment() {
        let mut env = command(Path::new("/bin/sh"));
        env.args(["-c", "set"]);

        let text = String::from_utf8(output(env).await.unwrap().stdout).unwrap();

        assert!(text.contains("LC_ALL='C'") && !text.contains("HOME="), "{text}");
    }
}
