//! The only place that writes: stdout for answers, stderr for everything that is said on the way. Names and words come
//! from plugins, registries and folders, so whatever a terminal would obey is written as an escape; what the containers
//! of an app wrote is alone passed on as it is.

use std::{
    borrow::Cow,
    io::{self, BufRead, IsTerminal, Write},
};

use flocker_api::{Code, Failure};
use flocker_plugins::acts;
use serde_json::Value;

/// What a command has to say, in both languages; only one of them is printed.
#[derive(Debug)]
pub(crate) struct Answer {
    /// For programs; null where it was all printed on the way.
    pub(crate) json: Value,
    /// For people; ends with a line feed, or is empty.
    pub(crate) text: String,
    /// For people, but no part of the answer: goes to stderr.
    pub(crate) aside: Option<String>,
    /// It said all this and still did not do what it was asked to.
    pub(crate) failure: Option<Failure>,
}

impl Answer {
    pub(crate) fn new(json: Value, text: impl Into<String>) -> Self {
        Self { json, text: text.into(), aside: None, failure: None }
    }

    /// A table; where it has no rows, a sentence instead of a header with nothing below it.
    pub(crate) fn list(json: Value, table: String, n_rows: usize, none: &str) -> Self {
        match n_rows {
            0 => Self { aside: Some(none.to_owned()), ..Self::new(json, "") },
            _ => Self::new(json, table),
        }
    }

    /// The same, with what people were told before, for programs.
    pub(crate) fn with_warning(mut self, warning: Option<String>) -> Self {
        if let (Some(warning), Some(fields)) = (warning, self.json.as_object_mut()) {
            fields.insert("warning".to_owned(), warning.into());
        }
        self
    }

    /// Everything was printed on the way.
    pub(crate) fn nothing() -> Self {
        Self::new(Value::Null, "")
    }
}

/// Writes to stdout. Whoever read it may have gone, as `head` does; that is no error.
pub(crate) fn print(text: &str) {
    let _ = print_bytes(visible(text).as_bytes());
}

/// Writes a document to stdout, on a line of its own.
///
/// # Errors
/// As [`print_bytes`].
pub(crate) fn print_json(document: &Value) -> io::Result<()> {
    print_bytes(json_line(document).as_bytes())
}

/// Writes to stdout at once, and as it is.
///
/// # Errors
/// When nobody reads any more: there is no use in going on.
pub(crate) fn print_bytes(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}

/// Writes a line to stderr.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", visible(line));
}

/// Writes bytes to stderr as they are.
pub(crate) fn say_bytes(bytes: &[u8]) {
    let _ = io::stderr().lock().write_all(bytes);
}

/// Says what whoever asked should know, although it was done.
pub(crate) fn warn(text: &str) {
    say(&format!("warning: {text}"));
}

/// Says what failed and what can be done.
pub(crate) fn complain(failure: &Failure) {
    say(&format!("error: {}", failure.message));
    if let Some(hint) = &failure.hint {
        say(&format!("hint: {hint}"));
    }
}

/// Text as it may be shown: what does more than to be seen is escaped, as in `\u{202e}`, so that a terminal neither obeys
/// it nor shows another text than the one that is there. Lines and tabs stay.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    let hides = |c: char| acts(c) && !matches!(c, '\n' | '\t');
    if !text.contains(hides) {
        return Cow::Borrowed(text);
    }
    let escaped = |c: char| if hides(c) { c.escape_unicode().to_string() } else { c.to_string() };
    Cow::Owned(text.chars().map(escaped).collect())
}

/// A document on one line: the same document, with the same characters escaped as JSON does.
fn json_line(document: &Value) -> String {
    let mut line = String::new();
    for c in document.to_string().chars() {
        match acts(c) {
            // Outside of strings there are none, and inside all below U+0020 are escaped already.
            true => c.encode_utf16(&mut [0; 2]).iter().for_each(|u| line += &format!("\\u{u:04x}")),
            false => line.push(c),
        }
    }
    line.push('\n');
    line
}

/// Whether nobody answered, as opposed to somebody saying no.
pub(crate) fn is_no_answer(failure: &Failure) -> bool {
    [Code::UNREACHABLE, Code::TIMEOUT, Code::NO_LEADER].contains(&failure.code)
}

/// Lets the operator say yes before something is gone for good.
///
/// # Errors
/// When the answer is no, or when nobody can be asked.
pub(crate) fn confirm(yes: bool, what: &str) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return Err(Failure::new(
            Code::INVALID_ARGUMENT,
            format!("{what} cannot be taken back, and nobody can be asked"),
        )
        .hint("add `--yes` if that is meant"));
    }
    let _ = write!(io::stderr().lock(), "{} cannot be taken back; go on? [y/N] ", visible(what));
    let mut line = String::new();
    let read = stdin.lock().read_line(&mut line);
    match (read, line.trim().to_ascii_lowercase().as_str()) {
        (Ok(_), "y" | "yes") => Ok(()),
        (Ok(_) | Err(_), _) => Err(Failure::new(Code::INVALID_ARGUMENT, "nothing was done")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Moves the cursor in two ways, and turns round what follows.
    const NASTY: &str = "a\x1b[2J\u{9b}2J\u{202e}b";

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        assert_eq!(visible(NASTY), r"a\u{1b}[2J\u{9b}2J\u{202e}b");
        assert_eq!(visible("a\rb\n\tc äöü 日本"), "a\\u{d}b\n\tc äöü 日本");
    }

    #[test]
    fn programs_are_told_the_same_in_escapes() {
        let document = json!({ NASTY: "\u{7f}\n\u{e0041}" });

        let line = json_line(&document);

        assert_eq!(line, concat!(r#"{"a\u001b[2J\u009b2J\u202eb":"\u007f\n\udb40\udc41"}"#, "\n"));
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), document);
    }
}
