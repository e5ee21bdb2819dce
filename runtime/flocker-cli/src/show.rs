//! How things look: tables for people, JSON for programs.

mod operation;

use std::time::Duration;

use clap::error::ErrorKind;
use comfy_table::{Table, presets};
use flocker_api::{Code, Failure, v1};
use flocker_model::{ByteSize, Timestamp};
use serde_json::{Value, json};

use crate::terminal::visible;

pub(crate) use operation::{operation_json, operation_text, operations_table, what};

/// A table as people see it: no frame, columns two spaces apart, no spaces at the end of a line.
pub(crate) fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).force_no_tty().set_header(header);
    // The width is of what is shown.
    table.add_rows(rows.into_iter().map(|row| row.map(|cell| visible(&cell).into_owned())));
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n") + "\n"
}

/// The words for what is not there.
pub(crate) fn or_dash(text: Option<&str>) -> String {
    text.unwrap_or("-").to_owned()
}

/// Several things in one cell.
pub(crate) fn list(items: impl IntoIterator<Item = String>) -> String {
    let items: Vec<String> = items.into_iter().collect();
    if items.is_empty() { "-".to_owned() } else { items.join(", ") }
}

/// The first so many of what a plugin has thousands of, if it likes; `--json` has them all.
pub(crate) fn shortened(items: Vec<String>, n_max: usize, what: &str) -> Vec<String> {
    let n_more = items.len().saturating_sub(n_max);
    let more = (n_more > 0).then(|| format!("and {n_more} more {what}; `--json` has them all"));
    items.into_iter().take(n_max).chain(more).collect()
}

/// A moment, in UTC.
pub(crate) fn moment(at: Timestamp) -> String {
    let at = std::time::UNIX_EPOCH.checked_add(Duration::from_millis(at.0));
    // The library knows the years up to 9999.
    match at.filter(|at| *at < std::time::UNIX_EPOCH + Duration::from_secs(253_402_300_800)) {
        Some(at) => humantime::format_rfc3339_seconds(at).to_string(),
        None => "-".to_owned(),
    }
}

/// A time span: as exact as people want it.
pub(crate) fn span(span: Duration) -> String {
    let seconds = span.as_secs_f64();
    if seconds < 1.0 {
        format!("{}ms", span.as_millis())
    } else if seconds < 10.0 {
        format!("{seconds:.2}s")
    } else if seconds < 60.0 {
        format!("{seconds:.1}s")
    } else {
        humantime::format_duration(Duration::from_secs(span.as_secs())).to_string()
    }
}

/// Milliseconds, for programs.
pub(crate) fn ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// `free of total`.
pub(crate) fn capacity(capacity: Option<v1::Capacity>) -> String {
    match capacity {
        Some(v1::Capacity { total, free }) => format!("{} of {}", ByteSize(free), ByteSize(total)),
        None => "-".to_owned(),
    }
}

/// An error, for programs.
pub(crate) fn failure(failure: &Failure) -> Value {
    json!({"error": {"code": failure.code.as_str(), "message": failure.message, "hint": failure.hint}})
}

/// A command line that makes no sense, in clap's words without its marks.
pub(crate) fn usage(error: &clap::Error) -> Failure {
    let failure = if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        // Its text would be the whole help.
        Failure::new(Code::INVALID_ARGUMENT, "a command is missing")
    } else {
        let text = error.render().to_string();
        let text = text.strip_prefix("error: ").unwrap_or(&text);
        let end = ["\n\nUsage:", "\n\nFor more information"];
        let end = end.iter().filter_map(|end| text.find(end)).min().unwrap_or(text.len());
        Failure::new(Code::INVALID_ARGUMENT, text[..end].trim_end())
    };
    failure.hint("`flocker --help` lists the commands, and each has `--help` of its own")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_nobody_would_read_says_how_much_is_left_out() {
        let items = |n: u32| (1..=n).map(|i| i.to_string()).collect();
        assert_eq!(shortened(items(2), 2, "names"), ["1", "2"]);
        let more = "and 3 more names; `--json` has them all";
        assert_eq!(shortened(items(5), 2, "names"), ["1", "2", more]);
    }

    #[test]
    fn times_are_as_exact_as_people_want_them() {
        for (millis, text) in [
            (0, "0ms"),
            (845, "845ms"),
            (2_340, "2.34s"),
            (12_345, "12.3s"),
            (125_900, "2m 5s"),
            (7_200_000, "2h"),
        ] {
            assert_eq!(span(Duration::from_millis(millis)), text);
        }
        assert_eq!(moment(Timestamp(1_795_340_111_999)), "2026-11-22T09:35:11Z");
        assert_eq!(moment(Timestamp(u64::MAX)), "-");
    }
}
