//! Values as Compose writes them: durations, CPUs, truth values, `key=value` lists, absolute paths.

use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
    time::Duration,
};

use flocker_model::CpuMillis;

use crate::{
    reader::{Field, Problems},
    yaml::Value,
};

/// The longest duration that is believed: a hundred years. Sums of it with a moment of today stay far from overflowing.
const DURATION_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// `1m30s`, `10s`, `500ms`, `1.5h`, `0`: parts in any order, each a decimal number with a unit.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let refuse = || format!("`{text}` is not a duration such as `1m30s` or `500ms`");
    match text {
        "" => return Err(refuse()),
        "0" => return Ok(Duration::ZERO),
        _ => {}
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let (number, after) =
            rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(refuse)?);
        let (unit, after) = after
            .split_at(after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len()));
        let seconds: f64 = number.parse().map_err(|_| refuse())?;
        let scale = match unit {
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(refuse()),
        };
        let part = Duration::try_from_secs_f64(seconds * scale).map_err(|_| refuse())?;
        total = total.checked_add(part).filter(|t| *t <= DURATION_MAX).ok_or_else(refuse)?;
        rest = after;
    }
    Ok(total)
}

/// A duration that must not be nothing.
pub(crate) fn duration_above_zero(text: &str) -> Result<Duration, String> {
    duration(text)
        .and_then(|d| if d.is_zero() { Err(format!("`{text}` is no time at all")) } else { Ok(d) })
}

/// `0.5`, `2`: a number of CPUs in thousandths.
pub(crate) fn cpus(text: &str) -> Result<CpuMillis, String> {
    let refuse = || format!("`{text}` is not a number of CPUs such as `0.5`, from 0.001 to 10000");
    if !text.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return Err(refuse());
    }
    let millis = (text.parse::<f64>().map_err(|_| refuse())? * 1000.0).round();
    if !(1.0..=1e7).contains(&millis) {
        return Err(refuse());
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked just above"
    )]
    Ok(CpuMillis(millis as u32))
}

/// `true` or `false`.
pub(crate) fn truth(text: &str) -> Result<bool, String> {
    match text {
        "true" | "True" | "TRUE" => Ok(true),
        "false" | "False" | "FALSE" => Ok(false),
        _ => Err(format!("`{text}` is not `true` or `false`")),
    }
}

/// A path in a container: absolute and without `..`.
pub(crate) fn absolute_path(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    if !text.starts_with('/') {
        return Err(format!("`{text}` is not an absolute path"));
    }
    if path.components().any(|c| c == Component::ParentDir) || text.contains('\0') {
        return Err(format!("`{text}` must not hold `..`"));
    }
    Ok(path.components().collect())
}

/// A mapping, or a list of `KEY=VALUE`. What a key without a value means differs: `bare` says.
pub(crate) fn key_values(
    field: &Field<'_>,
    problems: &mut Problems,
    bare: impl Fn(&Field<'_>, &str) -> Result<String, crate::Problem>,
) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    if let Value::List(_) = field.node.value {
        for item in field.list(problems) {
            let Some(text) = item.text(problems) else { continue };
            let (key, value) = match text.split_once('=') {
                Some((key, value)) => (key, Ok(value.to_owned())),
                None => (text.as_str(), bare(&item, &text)),
            };
            insert(&item, key, value, &mut out, problems);
        }
        return out;
    }
    for (key, item) in field.map(problems).rest() {
        let value = if item.is_null() {
            bare(&item, key)
        } else {
            match item.text(problems) {
                Some(value) if item.node.plain && is_rewritten(&value) => {
                    problems.push(
                        item.problem(format!("without quotes, Compose takes `{value}` for a number, a truth value or a date, and passes on another text"))
                            .hint(format!("write `\"{value}\"`")),
                    );
                    continue;
                }
                Some(value) => Ok(value),
                None => continue,
            }
        };
        insert(&item, key, value, &mut out, problems);
    }
    out
}

/// Whether a text without quotes is something to YAML of which Compose makes another text: `0755` becomes `493`, `1.10`
/// becomes `1.1`, `TRUE` becomes `true`.
fn is_rewritten(text: &str) -> bool {
    if matches!(text, "True" | "TRUE" | "False" | "FALSE") {
        return true;
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return false;
    }
    let bare = text.replace('_', "").to_ascii_lowercase();
    let (sign, digits) = match bare.strip_prefix(['+', '-']) {
        Some(digits) => (&bare[..1], digits),
        None => ("", bare.as_str()),
    };
    let is_based = |prefix, radix| {
        let digits = digits.strip_prefix(prefix);
        digits.is_some_and(|digits| u64::from_str_radix(digits, radix).is_ok())
    };
    if is_based("0x", 16) || is_based("0o", 8) || is_based("0b", 2) || is_date(&bare) {
        return true;
    }
    if matches!(digits, ".inf" | ".nan") {
        return true;
    }
    if digits.parse::<u64>().is_ok() {
        let is_canonical = digits == "0" && sign.is_empty() || !digits.starts_with('0');
        return sign == "+" || !is_canonical || bare != text;
    }
    match digits.parse::<f64>() {
        // `infinity` and `nan` are text to YAML.
        Ok(number) if digits.contains(|c: char| c.is_ascii_digit()) => {
            let as_printed = format!("{sign}{number}");
            sign == "+" || as_printed != text || number != 0.0 && !(1e-4..1e21).contains(&number)
        }
        Ok(_) | Err(_) => false,
    }
}

/// `2026-11-22`, also with a time behind it.
fn is_date(text: &str) -> bool {
    let mut parts = text.splitn(3, '-');
    let mut is_number = |lengths: std::ops::RangeInclusive<usize>| {
        parts.next().is_some_and(|part| {
            let n_digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            let rest = part[n_digits..].chars();
            lengths.contains(&n_digits) && rest.into_iter().all(|c| "0123456789:.tz+- ".contains(c))
        })
    };
    is_number(4..=4) && is_number(1..=2) && is_number(1..=2)
}

fn insert(
    item: &Field<'_>,
    key: &str,
    value: Result<String, crate::Problem>,
    out: &mut BTreeMap<String, String>,
    problems: &mut Problems,
) {
    if key.is_empty() || key.contains(['=', '\0', '\n']) {
        problems.push(item.problem(format!("`{}` cannot be a name", key.escape_default())));
        return;
    }
    match value {
        Ok(value) if value.contains('\0') => {
            problems.push(item.problem("a value cannot hold a zero byte"))
        }
        Ok(value) => {
            if out.insert(key.to_owned(), value).is_some() {
                problems.push(item.problem(format!("`{key}` is given twice")));
            }
        }
        Err(problem) => problems.push(problem),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_compose_writes_them() {
        for (text, millis) in [
            ("0", 0),
            ("0s", 0),
            ("500ms", 500),
            ("10s", 10_000),
            ("1m30s", 90_000),
            ("1.5h", 5_400_000),
            ("250us", 0),
        ] {
            assert_eq!(duration(text).unwrap().as_millis(), millis, "{text}");
        }
        for bad in
            ["", "10", "s", "-1s", "1x", "1d", "1..5s", "1s 2s", "9999999999h", "1e3s", "ms5"]
        {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn cpus_are_read_in_thousandths() {
        for (text, millis) in [("0.5", 500), ("2", 2000), (".25", 250), ("1.0004", 1000)] {
            assert_eq!(cpus(text), Ok(CpuMillis(millis)), "{text}");
        }
        for bad in ["", "0", "-1", "inf", "nan", "1e3", "99999999", "1,5", "."] {
            assert!(cpus(bad).is_err(), "{bad}");
        }
    }

    /// What stands on the right is what Compose passes on.
    #[test]
    fn texts_that_compose_would_rewrite_are_known() {
        for (text, rewritten) in [
            ("0755", "493"),
            ("0x1F", "31"),
            ("0o17", "15"),
            ("0b11", "3"),
            ("1_000", "1000"),
            ("+5", "5"),
            ("-0", "0"),
            ("1.10", "1.1"),
            ("1.0", "1"),
            ("5.", "5"),
            (".5", "0.5"),
            ("1e3", "1000"),
            ("0.00001", "1e-05"),
            (".inf", "+Inf"),
            ("TRUE", "true"),
            ("False", "false"),
            ("2026-11-22", "2026-11-22 00:00:00 +0000 UTC"),
            ("2026-1-2T10:20:30Z", "2026-01-02 10:20:30 +0000 UTC"),
        ] {
            assert!(is_rewritten(text), "{text} to {rewritten}");
        }
        for same in [
            "",
            "0",
            "8080",
            "-1",
            "1.5",
            "-0.25",
            "true",
            "false",
            "yes",
            "on",
            "No",
            "1.2.3",
            "10.0.0.1",
            "3s",
            "0s",
            "infinity",
            "nan",
            "-x",
            "+",
            ".",
            "-",
            "0x",
            "08:30",
            "1-2-3",
            "2026-11-22-backup",
            "18446744073709551615",
        ] {
            assert!(!is_rewritten(same), "{same}");
        }
    }
}
