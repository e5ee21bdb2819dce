//! Runs programs of the machine: by absolute path, with an empty environment and bounded output.

use std::{
    io,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::Command,
    time::timeout,
};

/// A listing of a hundred thousand datasets fits; a program that went mad does not fill the memory.
const STDOUT_MAX: u64 = 64 << 20;
/// Only its end is shown to people.
const STDERR_MAX: u64 = 64 << 10;
/// Far above what any command here needs on storage that works.
const PATIENCE: Duration = Duration::from_secs(120);

/// The places where distributions put programs for administrators.
const FOLDERS: [&str; 6] =
    ["/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/local/bin", "/usr/local/sbin"];

/// Finds a program without looking at `PATH`, which a service may not have.
#[must_use]
pub fn find(program: &str) -> Option<PathBuf> {
    FOLDERS.iter().map(|folder| Path::new(folder).join(program)).find(|path| path.is_file())
}

/// A program with nothing of our environment in it.
#[must_use]
pub fn command(program: &Path) -> Command {
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
///
/// # Errors
/// It could not be started, printed too much, or took longer than two minutes.
pub async fn output(mut command: Command) -> io::Result<Output> {
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

/// The last lines of what a program printed, as one line.
#[must_use]
pub fn tail(stderr: &[u8]) -> String {
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
