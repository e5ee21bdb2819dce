//! Rules for source files. Length of functions and `unwrap` are clippy's business.

use std::path::Path;

use tidy::{files, read, shown};

/// If you scroll, split.
const LINES_MAX: usize = 600;

/// Every Rust file with a complaint.
#[track_caller]
fn check(rule: &str, complaint: impl Fn(&Path, &str) -> Option<String>) {
    let all = files("", "rs");
    assert!(all.len() > 20, "only {} files were found", all.len());
    let mut bad = Vec::new();
    for path in all {
        let text = read(&path);
        bad.extend(complaint(&path, &text).map(|what| format!("  {}: {what}", shown(&path))));
    }
    assert!(bad.is_empty(), "{rule}:\n{}", bad.join("\n"));
}

#[test]
fn no_file_is_longer_than_600_lines() {
    check("split by idea", |_, text| {
        let lines = text.lines().count();
        (lines > LINES_MAX).then(|| format!("{lines} lines"))
    });
}

#[test]
fn the_first_line_says_what_the_file_is_for() {
    check("the first line is `//! …`", |_, text| {
        let first = text.lines().next().unwrap_or_default();
        let says = first.strip_prefix("//!").is_some_and(|rest| rest.trim().len() > 10);
        (!says).then(|| format!("`{first}`"))
    });
}

#[test]
fn no_file_names_a_place_of_one_machine() {
    // Put together here, so that this file does not name them itself.
    let places = [["/wo", "rk/main"], ["/wo", "rk/shared"]].map(|parts| parts.concat());
    check("paths of one machine belong in no file", |_, text| {
        places
            .iter()
            .find(|place| text.contains(place.as_str()))
            .map(|place| format!("names `{place}`"))
    });
}
