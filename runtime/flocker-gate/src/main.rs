//! The entrypoint of every container of ours: waits until its volumes were mounted and proved, and then becomes the
//! app's process. Runs nothing before, whatever happens. `gate WORKING-DIR COMMAND [ARGUMENT]…`

use std::{
    env,
    ffi::OsString,
    fs::File,
    io::{self, Read},
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, ExitCode},
    sync::{Arc, atomic::AtomicBool},
};

use flocker_gate::{
    FIFO, FOLDER, Order, REFUSAL, STATUS_NOT_EXECUTABLE, STATUS_NOT_FOUND, STATUS_REFUSED,
};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

/// Why the app did not run.
struct Refusal {
    status: u8,
    reason: String,
}

fn main() -> ExitCode {
    let Err(refusal) = run();
    report(&refusal);
    ExitCode::from(refusal.status)
}

#[expect(clippy::print_stderr, reason = "the container's log is where people and the engine look")]
fn report(refusal: &Refusal) {
    eprintln!("{REFUSAL}{}", refusal.reason);
}

/// Returns only when the app could not be run.
fn run() -> Result<std::convert::Infallible, Refusal> {
    let refuse = |reason: String| Refusal { status: STATUS_REFUSED, reason };
    let mut arguments = env::args_os().skip(1);
    let (Some(folder), Some(program)) = (arguments.next(), arguments.next()) else {
        return Err(refuse("usage: gate WORKING-DIR COMMAND [ARGUMENT]…".to_owned()));
    };
    end_on_signals().map_err(|error| refuse(format!("could not watch for signals: {error}")))?;

    let fifo = Path::new(FOLDER).join(FIFO);
    // Kept open until the app's program replaced ours, which closes it: so the engine sees the moment.
    let (_fifo, order) =
        wait(&fifo).map_err(|error| refuse(format!("`{}`: {error}", fifo.display())))?;
    for proof in &order.proofs {
        proof.check().map_err(|unproved| refuse(unproved.to_string()))?;
    }
    env::set_current_dir(&folder)
        .map_err(|error| refuse(format!("could not change to `{}`: {error}", folder.display())))?;
    Err(execute(program, arguments))
}

/// The kernel ignores signals that the first process of a container has no handler for. `execve` takes ours away again.
fn end_on_signals() -> io::Result<()> {
    for signal in [SIGTERM, SIGINT, SIGQUIT, SIGHUP] {
        signal_hook::flag::register_conditional_shutdown(
            signal,
            128 + signal,
            Arc::new(AtomicBool::new(true)),
        )?;
    }
    Ok(())
}

/// Waits for a whole order. What a writer wrote that went away before the end is forgotten.
fn wait(path: &Path) -> io::Result<(File, Order)> {
    let mut fifo = File::open(path)?;
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        match fifo.read(&mut chunk) {
            Ok(0) => {
                bytes.clear();
                // Opened before the old one is closed: a writer never finds the FIFO without its reader.
                fifo = File::open(path)?;
            }
            Ok(n_read) => bytes.extend_from_slice(&chunk[..n_read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        match Order::decode(&bytes) {
            Ok(Some(order)) => return Ok((fifo, order)),
            Ok(None) => {}
            Err(_) => return Err(io::Error::other("the order is not one of this release")),
        }
    }
}

/// Becomes the app. The program is looked for in the container's `PATH`, as Docker does.
fn execute(program: OsString, arguments: impl Iterator<Item = OsString>) -> Refusal {
    let error = Command::new(&program).args(arguments).exec();
    let status = if error.kind() == io::ErrorKind::NotFound {
        STATUS_NOT_FOUND
    } else {
        STATUS_NOT_EXECUTABLE
    };
    Refusal { status, reason: format!("could not execute `{}`: {error}", program.display()) }
}
