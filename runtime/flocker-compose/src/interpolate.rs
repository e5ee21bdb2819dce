//! Puts the values of variables into a Compose file, before it is sent and stored.
//!
//! Works on scalars that are values, never on keys, comments or the YAML around them, so a variable's content cannot
//! change what the file says: it is written back as a quoted scalar in the same place. The result is the same file with
//! the same lines. A literal `$` is `$$` in the input, stays `$$` in the output (and so does a `$` that came out of a
//! variable), and becomes `$` in [`crate::parse`]; interpolating twice is interpolating once.

use std::{fmt::Write as _, ops::Range};

use crate::{
    Problem, variables,
    yaml::{self, ScalarSpan},
};

/// Resolves the variables of a file and gives back its text without any.
///
/// | written | set | empty | not set |
/// |---|---|---|---|
/// | `$V`, `${V}` | its value | nothing | refused |
/// | `${V-d}` | its value | nothing | `d` |
/// | `${V:-d}` | its value | `d` | `d` |
/// | `${V?e}` | its value | nothing | refused with `e` |
/// | `${V:?e}` | its value | refused with `e` | refused with `e` |
/// | `${V+a}` | `a` | `a` | nothing |
/// | `${V:+a}` | `a` | nothing | nothing |
///
/// Compose puts nothing in the place of a variable that is not set, and warns; here it is refused, because a path or a
/// password that is silently empty is found out too late. `${V:-}` says that nothing is meant.
///
/// # Errors
/// The first scalar that could not be resolved, or YAML that cannot be read.
pub fn interpolate(text: &str, lookup: impl Fn(&str) -> Option<String>) -> Result<String, Problem> {
    let (_, mut scalars) = yaml::load_with_scalars(text)?;
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    for scalar in scalars.iter_mut().filter(|s| s.text.contains('$')) {
        let resolved = variables::resolve(&scalar.text, &lookup)
            .map_err(|e| Problem::new(scalar.line, "", e.what).hint(e.hint))?;
        if resolved != scalar.text {
            let range = if scalar.block {
                with_header(text, &scalar.range)
            } else {
                after_anchor(text, &scalar.range)
            };
            out.push_str(text.get(copied..range.start).unwrap_or_default());
            quote(&resolved, &mut out);
            let replaced = text.get(range.clone()).unwrap_or_default();
            // As many lines as before, so that later problems are found on the lines of the operator's own file.
            out.extend(replaced.chars().filter(|c| *c == '\n'));
            copied = range.end;
            scalar.text = resolved;
            scalar.line = 1 + text.get(..range.start).unwrap_or_default().matches('\n').count();
        }
    }
    out.push_str(text.get(copied..).unwrap_or_default());
    check(&out, &scalars)?;
    Ok(out)
}

/// The parser begins a block scalar at its first line of text; the `|` before it has to go as well, and the indentation
/// of the line after it has to stay.
fn with_header(text: &str, range: &Range<usize>) -> Range<usize> {
    let before = text.get(..range.start).unwrap_or_default().trim_end();
    let line = before.rfind('\n').map_or(0, |at| at + 1);
    let is_header = |header: &str| {
        let rest = header.get(1..).unwrap_or_default().trim_start_matches(['+', '-']);
        let rest =
            rest.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start_matches(['+', '-']);
        rest.trim_start().is_empty()
            || rest.starts_with([' ', '\t']) && rest.trim_start().starts_with('#')
    };
    let on_line = before.get(line..).unwrap_or_default();
    let header = on_line
        .match_indices(['|', '>'])
        .map(|(at, _)| line + at)
        .find(|at| is_header(&before[*at..]));
    let length = text.get(range.clone()).unwrap_or_default().trim_end().len();
    header.unwrap_or(range.start)..range.start + length
}

/// The parser counts an anchor as part of a quoted scalar; aliases still need it.
fn after_anchor(text: &str, range: &Range<usize>) -> Range<usize> {
    let raw = text.get(range.clone()).unwrap_or_default();
    let anchor =
        raw.strip_prefix('&').and_then(|r| r.find(char::is_whitespace)).unwrap_or_default();
    let skip = if anchor == 0 { 0 } else { raw.len() - raw[anchor + 1..].trim_start().len() };
    range.start + skip..range.end
}

/// A YAML scalar in double quotes, on one line.
fn quote(value: &str, out: &mut String) {
    out.push('"');
    for c in value.chars() {
        let _ = match c {
            '"' | '\\' => write!(out, "\\{c}"),
            '\n' => write!(out, "\\n"),
            '\t' => write!(out, "\\t"),
            // Line separators and the byte order mark are no control characters, but YAML treats them as special.
            '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{85}' => {
                write!(out, "\\u{:04x}", u32::from(c))
            }
            c if c.is_control() => write!(out, "\\u{:04x}", u32::from(c)),
            c => write!(out, "{c}"),
        };
    }
    out.push('"');
}

/// The text now says what was meant, and nothing else: every scalar has its value and its line.
fn check(text: &str, expected: &[ScalarSpan]) -> Result<(), Problem> {
    let found = yaml::load_with_scalars(text).map(|(_, scalars)| scalars).unwrap_or_default();
    let wrong = expected.iter().enumerate().find(|(idx, want)| match found.get(*idx) {
        Some(found) => found.text != want.text || found.line != want.line,
        None => true,
    });
    match wrong {
        None if found.len() == expected.len() => Ok(()),
        Some((_, ScalarSpan { line, .. })) => Err(unplaceable(*line)),
        None => Err(unplaceable(1)),
    }
}

fn unplaceable(line: usize) -> Problem {
    Problem::new(line, "", "a variable cannot be put in here")
        .hint("write the value in double quotes, on one line")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn lookup(name: &str) -> Option<String> {
        let known = [("A", "one"), ("EMPTY", ""), ("ODD", "x: \"y\" # $z\n- q"), ("PORT", "8080")];
        known.iter().find(|(k, _)| *k == name).map(|(_, v)| (*v).to_owned())
    }

    #[test]
    fn values_take_the_place_of_variables_and_keep_the_lines() {
        let text = "# ${UNKNOWN} in a comment stays\nname: $A\n${A}: key\nb: ${ODD}\nc:\n  - >- # two\n\n    two $A\n    ${A}\n  - &x '${PORT}:$$80' # why\nd: [a, $A, \"${A}\"]\ne: two\n  lines ${A}\nf: &y ${A}\ng: *y\n";

        let resolved = interpolate(text, lookup).unwrap();

        expect_test::expect![[r##"
            # ${UNKNOWN} in a comment stays
            name: "one"
            ${A}: key
            b: "x: \"y\" # $$z\n- q"
            c:
              - "\ntwo one one"



              - &x "8080:$$80"
            d: [a, "one", "one"]
            e: "two lines one"

            f: &y "one"
            g: *y
        "##]]
        .assert_eq(&resolved);
        assert_eq!(interpolate(&resolved, lookup), Ok(resolved.clone()));
    }

    #[test]
    fn what_cannot_be_resolved_is_refused_with_its_line() {
        let errors: Vec<String> = ["a: b\nc: ${NOPE}", "c: ${EMPTY:?say it}", "c: 5$", "c: [}"]
            .iter()
            .map(|text| interpolate(text, lookup).unwrap_err().to_string())
            .collect();

        expect_test::expect![[r#"
            compose.yaml:2: variable `NOPE` is not set
            hint: set it in the environment, or write `${NOPE:-default}`
            compose.yaml:1: variable `EMPTY` is needed: say it
            hint: set it in the environment, or write `${EMPTY:-default}`
            compose.yaml:1: `5$` is not a form of variable that is known
            hint: write `${NAME}`, `${NAME:-default}` or `${NAME:?message}`, and `$$` for a `$`
            compose.yaml:1: this is not valid YAML: while parsing a node, did not find expected node content"#]].assert_eq(&errors.join("\n"));
    }

    proptest! {
        #[test]
        fn whatever_a_variable_holds_is_what_the_scalar_says(value in any::<String>(), style in 0..4usize) {
            let text = match style {
                0 => "a: ${V}\nb: c\n",
                1 => "a: '${V}'\nb: c\n",
                2 => "a: [\"${V}\", x]\nb: c\n",
                _ => "a: |-\n  ${V}\nb: c\n",
            };
            let vars = BTreeMap::from([("V", value.clone())]);

            let resolved = interpolate(text, |name| vars.get(name).cloned()).unwrap();

            let (_, scalars) = yaml::load_with_scalars(&resolved).unwrap();
            prop_assert_eq!(scalars[0].text.replace("$$", "$"), value);
        }

        #[test]
        fn no_text_panics(text in "[a-c:$?{}+ \n\"'|>\\-&*\\[\\],#]{0,60}") {
            let _ = interpolate(&text, lookup);
        }
    }
}
