//! Lines for people, and questions to them. The only place that writes to the terminal.

use std::{
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    time::Duration,
};

use anyhow::Result;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::interrupt;

/// Who has not answered by then went away.
const ANSWER_MAX: Duration = Duration::from_secs(3600);

/// Prints one line at once. A reader that went away is not our problem.
pub(crate) fn line(text: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{text}");
    let _ = out.flush();
}

/// A heading of a part of the work.
pub(crate) fn part(text: &str) {
    line(&format!("== {text}"));
}

/// Asks whether to go on. Yes without asking where nobody is there to answer, or `yes` was given before.
pub(crate) fn confirm(question: &str, yes: bool) -> Result<bool> {
    let stdin = io::stdin();
    if yes || !stdin.is_terminal() {
        return Ok(true);
    }
    let mut out = io::stdout().lock();
    let _ = write!(out, "{question} [Y/n] ");
    let _ = out.flush();
    // A signal would not end the reading of a line, so nothing is read before the line is there.
    interrupt::wait_for("an answer", ANSWER_MAX, || {
        let mut terminal = [PollFd::new(&stdin, PollFlags::IN)];
        let ready = poll(&mut terminal, Some(&Timespec::default()));
        Ok(ready.is_ok_and(|n_ready| n_ready > 0).then_some(()))
    })?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    Ok(agrees(&answer))
}

/// Whether a line means yes. No line at all, which is what Ctrl-D gives, means no.
fn agrees(line: &str) -> bool {
    line.ends_with('\n') && matches!(line.trim(), "" | "y" | "Y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_line_is_a_yes_and_no_line_is_a_no() {
        for (line, yes) in [("\n", true), ("y\n", true), ("n\n", false), ("", false)] {
            assert_eq!(agrees(line), yes, "{line:?}");
        }
    }
}
