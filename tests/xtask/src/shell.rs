//! Other programs: run in the foreground, ask for their output, find them. Nothing goes through a shell.

use std::{
    env,
    io::Read,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::{interrupt, say};

/// The program's path, also where only root's `PATH` leads, or only cargo looks.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| env::home_dir().map(|home| home.join(".cargo")));
    let folders = env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .chain(home.map(|home| home.join("bin")));
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// A command by its found path, so that `sbin` does not have to be in `PATH`.
pub(crate) fn command(program: &str) -> Command {
    Command::new(find(program).unwrap_or_else(|| PathBuf::from(program)))
}

/// The cargo that runs us.
pub(crate) fn cargo(folder: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(folder);
    // Set by the cargo that runs us for *this* package; a build script elsewhere would be run again because of them.
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    command
}

/// The command as a person would type it.
pub(crate) fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| quoted(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
}

/// The word as a person would type it.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.to_owned() } else { format!("'{word}'") }
}

/// Says the command, runs it with our terminal, and fails unless it succeeds.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    say::line(&format!("$ {}", shown(command)));
    let status = status(command)?;
    if !status.success() {
        bail!("`{}` ended with {status}", shown(command));
    }
    Ok(())
}

/// Runs the command with our terminal. Ends it when we are interrupted.
pub(crate) fn status(command: &mut Command) -> Result<ExitStatus> {
    let shown = shown(command);
    let mut child = command.spawn().with_context(|| format!("could not run `{shown}`"))?;
    wait(&mut child, &shown, None)
}

/// The command's standard output; an error carries what it wrote to standard error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    output_within(command, None)
}

/// As [`output`], and the command is killed at the limit.
pub(crate) fn output_within(command: &mut Command, limit: Option<Duration>) -> Result<String> {
    let shown = shown(command);
    // A group of its own: Ctrl-C at the terminal reaches us alone, and we end it in our own order.
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().with_context(|| format!("could not run `{shown}`"))?;
    let out = reader(child.stdout.take());
    let err = reader(child.stderr.take());
    let status = wait(&mut child, &shown, limit)?;
    let text = |handle: thread::JoinHandle<String>| {
        handle.join().map_err(|_| anyhow!("a reader panicked"))
    };
    let (out, err) = (text(out)?, text(err)?);
    if !status.success() {
        let said = if err.trim().is_empty() { out.trim() } else { err.trim() };
        bail!("`{shown}` ended with {status}: {said}");
    }
    Ok(out)
}

fn reader(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn wait(child: &mut Child, shown: &str, limit: Option<Duration>) -> Result<ExitStatus> {
    let started = Instant::now();
    loop {
        if let Some(status) =
            child.try_wait().with_context(|| format!("could not wait for `{shown}`"))?
        {
            return Ok(status);
        }
        let late = limit.is_some_and(|limit| started.elapsed() >= limit);
        if late || interrupt::asked() {
            let _ = child.kill();
            let _ = child.wait();
            interrupt::check()?;
            bail!("`{shown}` took longer than {}s", started.elapsed().as_secs());
        }
        thread::sleep(Duration::from_millis(10));
    }
}
