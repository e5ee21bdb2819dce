//! Runs programs that the operator granted, for a plugin. What it is given is fixed here: arguments as they are, a
//! pipe, no environment.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
    time::timeout,
};

use super::{
    bindings::flocker::plugin::{commands as wit, types::Failure},
    state::{CODE_LATE, CODE_NOT_GRANTED, CODE_TOO_MUCH, CODE_UNREACHABLE, coded, wait_at_most},
};
use crate::chatter::tame;

/// What one stream of a program's output may hold.
const OUTPUT_BYTES_MAX: u64 = 1 << 20;

/// The programs that may be run.
#[derive(Debug, Default)]
pub(crate) struct Commands(pub(crate) BTreeSet<PathBuf>);

/// A program and whatever it started. None of them outlives the call.
struct Group {
    child: Child,
    id: Option<Pid>,
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            // An empty group is what we want.
            let _ = kill_process_group(id, Signal::KILL);
        }
    }
}

impl Commands {
    pub(crate) async fn run(&self, what: wit::Command) -> Result<wit::Output, Failure> {
        let program = Path::new(&what.program);
        // Compared as it stands there: a path that leads to the same program by another way was not granted.
        if !self.0.iter().any(|granted| granted.as_os_str() == program.as_os_str()) {
            let program = tame(&what.program, 200);
            return Err(coded(
                CODE_NOT_GRANTED,
                format!(
                    "command `{program}` was not granted\nhint: --grant command=/PATH names its whole path"
                ),
            ));
        }
        let wall = wait_at_most(what.timeout_ms);
        let late = |_| late(program, wall);
        timeout(wall, run(&what)).await.map_err(late)?
    }
}

fn late(program: &Path, wall: Duration) -> Failure {
    coded(
        CODE_LATE,
        format!("command `{}` took longer than {wall:?}, and was killed", program.display()),
    )
}

async fn run(what: &wit::Command) -> Result<wit::Output, Failure> {
    let failed = |error: std::io::Error| {
        coded(CODE_UNREACHABLE, format!("command `{}` could not be run: {error}", what.program))
    };
    let child = Command::new(&what.program)
        .args(&what.args)
        .env_clear()
        .current_dir("/")
        .process_group(0)
        .kill_on_drop(true)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let id = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    let mut group = Group { child, id };
    let (stdin, stdout, stderr) =
        (group.child.stdin.take(), group.child.stdout.take(), group.child.stderr.take());
    let feed = async {
        if let Some(mut stdin) = stdin {
            // A program that does not read to the end had enough.
            let _ = stdin.write_all(&what.stdin).await;
        }
        Ok(())
    };
    let ((), stdout, stderr) =
        tokio::try_join!(feed, read(stdout), read(stderr)).map_err(|error| match error {
            Trouble::Much => coded(
                CODE_TOO_MUCH,
                format!("command `{}` wrote more than 1 MiB, and was killed", what.program),
            ),
            Trouble::Io(error) => failed(error),
        })?;
    let status = group.child.wait().await.map_err(failed)?;
    Ok(wit::Output { exit_code: status.code(), stdout, stderr, attrs: Vec::new() })
}

enum Trouble {
    Much,
    Io(std::io::Error),
}

async fn read(stream: Option<impl AsyncRead + Unpin>) -> Result<Vec<u8>, Trouble> {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        let mut stream = stream.take(OUTPUT_BYTES_MAX + 1);
        stream.read_to_end(&mut bytes).await.map_err(Trouble::Io)?;
    }
    if bytes.len() as u64 > OUTPUT_BYTES_MAX { Err(Trouble::Much) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn command(program: &str, args: &[&str]) -> wit::Command {
        wit::Command {
            program: program.to_owned(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            stdin: Vec::new(),
            timeout_ms: 10_000,
            attrs: Vec::new(),
        }
    }

    async fn run(program: &str, args: &[&str]) -> Result<wit::Output, Failure> {
        granted().run(command(program, args)).await
    }

    fn granted() -> Commands {
        Commands(
            ["/bin/echo", "/bin/cat", "/bin/sh", "/usr/bin/env", "/bin/nothing"]
                .map(PathBuf::from)
                .into(),
        )
    }

    #[tokio::test]
    async fn a_granted_program_gets_its_arguments_and_nothing_else() {
        let said = run("/bin/echo", &["a b", "$(id)", "; id", "`id`", "*", "../x"]).await.unwrap();
        assert_eq!(said.stdout, b"a b $(id) ; id `id` * ../x\n");
        let given = wit::Command { stdin: b"in".to_vec(), ..command("/bin/cat", &[]) };
        assert_eq!(granted().run(given).await.unwrap().stdout, b"in");
        assert_eq!(run("/usr/bin/env", &[]).await.unwrap().stdout, b"");
        let failed = run("/bin/sh", &["-c", "echo no >&2; pwd; exit 7"]).await.unwrap();
        assert_eq!(
            (failed.exit_code, &*failed.stderr, &*failed.stdout),
            (Some(7), &b"no\n"[..], &b"/\n"[..])
        );
        let killed = run("/bin/sh", &["-c", "kill -9 $$"]).await.unwrap();
        assert_eq!(killed.exit_code, None);
    }

    #[tokio::test]
    async fn other_programs_are_refused() {
        for program in
            ["echo", "/bin/../bin/echo", "/bin//echo", "/bin/echo ", "/bin/ls", "./echo", ""]
        {
            let refused = run(program, &[]).await.unwrap_err();
            assert_eq!(refused.code, CODE_NOT_GRANTED, "{program}");
            assert!(refused.message.contains("hint:"), "{}", refused.message);
        }
        assert_eq!(run("/bin/nothing", &[]).await.unwrap_err().code, CODE_UNREACHABLE);
        assert_eq!(run("/bin/echo", &["a\0b"]).await.unwrap_err().code, CODE_UNREACHABLE);
    }

    /// Neither the program nor its children are there afterwards.
    #[tokio::test]
    async fn one_that_takes_too_long_or_says_too_much_is_killed_with_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let pids = folder.path().join("pids");
        let script =
            |end: &str| format!("sleep 600 & echo $! > {0}; echo $$ >> {0}; {end}", pids.display());
        for (end, timeout_ms, code) in
            [("wait", 500, CODE_LATE), ("exec cat /dev/zero", 60_000, CODE_TOO_MUCH)]
        {
            let what = wit::Command { timeout_ms, ..command("/bin/sh", &["-c", &script(end)]) };
            let start = Instant::now();
            assert_eq!(granted().run(what).await.unwrap_err().code, code);
            assert!(start.elapsed() < Duration::from_secs(30));
            let pids = std::fs::read_to_string(&pids).unwrap();
            assert_eq!(pids.lines().count(), 2);
            for pid in pids.lines() {
                wait_until_gone(pid).await;
            }
        }
    }

    async fn wait_until_gone(pid: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        // A zombie has no command line.
        while std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty()) {
            assert!(Instant::now() < deadline, "process {pid} is still there");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
