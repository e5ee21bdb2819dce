//! Lines for people, and questions to them. The only place that writes to the terminal.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

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
pub(crate) fn confirm(question: &str, yes: bool) -> bool {
    if yes || !io::stdin().is_terminal() {
        return true;
    }
    let mut out = io::stdout().lock();
    let _ = write!(out, "{question} [Y/n] ");
    let _ = out.flush();
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    read.is_ok() && matches!(answer.trim(), "" | "y" | "Y" | "yes")
}
