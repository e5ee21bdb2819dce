//! The only place that prints: what was measured, and what a failed test leaves to be read.

/// Prints a line into the test's output.
#[expect(clippy::print_stderr, reason = "the output of a test is where its figures belong")]
pub fn say(line: &str) {
    eprintln!("{line}");
}
