//! Splits a command line into words as a POSIX shell does, and refuses what only a shell can do.
//!
//! Not a library, because `shlex` takes what follows a `#` for a comment and passes `;` and `|` on as words: a command that
//! does less than it says is worse than one that is refused.

/// The words of `line`: blanks part them, `'…'` keeps everything, `"…"` keeps all but `\` before `"`, `\`, `$` and
/// `` ` ``, and `\` keeps the next character.
pub(crate) fn split(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_whitespace() => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next().ok_or("a `'` is never closed")? {
                        '\'' => break,
                        c => word.push(c),
                    }
                }
            }
            '"' => double_quoted(&mut chars, word.get_or_insert_default())?,
            '\\' => match chars.next().ok_or("it ends with a `\\`")? {
                '\n' => {}
                c => word.get_or_insert_default().push(c),
            },
            ';' | '&' | '|' | '<' | '>' | '`' => {
                return Err(format!("`{c}` needs a shell, and none runs here"));
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

fn double_quoted(chars: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), String> {
    const OPEN: &str = "a `\"` is never closed";
    loop {
        match chars.next().ok_or(OPEN)? {
            '"' => return Ok(()),
            '\\' => match chars.next().ok_or(OPEN)? {
                c @ ('"' | '\\' | '$' | '`') => word.push(c),
                '\n' => {}
                c => word.extend(['\\', c]),
            },
            c => word.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn splits_as_a_shell_does() {
        for (line, words) in [
            ("", vec![]),
            ("redis-server --appendonly yes", vec!["redis-server", "--appendonly", "yes"]),
            (r#"a 'b c' "d e" f\ g"#, vec!["a", "b c", "d e", "f g"]),
            (r#"sh -c 'a; b | c' "" ''"#, vec!["sh", "-c", "a; b | c", "", ""]),
            (r##"x "\"\n\\" #y"##, vec!["x", "\"\\n\\", "#y"]),
            ("a\\\nb", vec!["ab"]),
        ] {
            assert_eq!(split(line).unwrap(), words, "{line}");
        }
        for bad in ["'", "\"a", "a\\", "a; b", "a|b", "a && b", "a > f", "\"\\"] {
            assert!(split(bad).is_err(), "{bad}");
        }
    }
}
