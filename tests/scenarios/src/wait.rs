//! Waiting for a state, with a deadline; never for a time.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

/// What takes a moment takes at most this long, also on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// Waits until `look` finds something; an error of it counts as "not yet", and is told when time is up.
///
/// # Errors
/// When nothing was found in [`LIMIT`].
pub fn until<T>(what: &str, look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    within(LIMIT, what, look)
}

/// Waits until `look` finds something, so long at most.
///
/// # Errors
/// When nothing was found in time.
pub fn within<T>(
    limit: Duration,
    what: &str,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        let late = Instant::now() >= deadline;
        match look() {
            Ok(Some(found)) => return Ok(found),
            Ok(None) if late => bail!("waited {limit:?} in vain for {what}"),
            Err(error) if late => {
                return Err(error).with_context(|| format!("waited {limit:?} in vain for {what}"));
            }
            Ok(None) | Err(_) => thread::sleep(LOOK),
        }
    }
}
