//! The only place that prints: what was measured, and what a failed test leaves to be read.

use std::io::{self, Write as _};

/// Prints a line into the test's output. Whoever read it may have been ended; the test still has to clean up.
pub fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
