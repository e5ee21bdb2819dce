//! Ctrl-C and SIGTERM: they set a flag, every wait looks at it, and the way out is the same as for any error, so that
//! what was started is cleaned up by its owner. A second signal does not cut the cleaning short.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

static ASKED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// While we clean up, nobody may hurry us: half-cleaned is worse than late.
static SHIELDED: AtomicBool = AtomicBool::new(false);

/// How often a wait looks whether what it waits for has come.
const POLL: Duration = Duration::from_millis(20);

/// From now on signals are noticed instead of ending the program.
pub(crate) fn install() -> Result<()> {
    let flag = ASKED.get_or_init(Default::default);
    for signal in
        [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP]
    {
        signal_hook::flag::register(signal, Arc::clone(flag))
            .context("could not listen for Ctrl-C")?;
    }
    Ok(())
}

/// Whether somebody wants us to end.
pub(crate) fn asked() -> bool {
    !SHIELDED.load(Ordering::Relaxed)
        && ASKED.get().is_some_and(|flag| flag.load(Ordering::Relaxed))
}

/// Does it without looking at signals.
pub(crate) fn shielded<T>(work: impl FnOnce() -> T) -> T {
    SHIELDED.store(true, Ordering::Relaxed);
    let done = work();
    SHIELDED.store(false, Ordering::Relaxed);
    done
}

/// An error once somebody wants us to end.
pub(crate) fn check() -> Result<()> {
    if asked() {
        bail!("interrupted");
    }
    Ok(())
}

/// Waits until `look` finds something. Fails at the deadline, naming `what`, when interrupted, or when `look` fails.
pub(crate) fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        check()?;
        if let Some(found) = look()? {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            bail!("{what} did not happen within {}s", limit.as_secs());
        }
        thread::sleep(POLL);
    }
}

/// Lets time pass; an error as soon as somebody wants us to end.
pub(crate) fn pause(time: Duration) -> Result<()> {
    let end = Instant::now() + time;
    while Instant::now() < end {
        check()?;
        thread::sleep(POLL.min(end.saturating_duration_since(Instant::now())));
    }
    check()
}
