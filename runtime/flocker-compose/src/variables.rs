//! The small language of variables in one scalar: `$V`, `${V}`, `${V:-default}`, `${V:?error}`, `${V:+other}`, `$$`.

/// The deepest nesting of defaults in defaults. People write one or two; the reader is recursive.
const DEPTH_MAX: usize = 8;

/// Where the values come from.
type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What could not be resolved, and what to do.
#[derive(Debug, PartialEq)]
pub(crate) struct Unresolved {
    pub(crate) what: String,
    pub(crate) hint: String,
}

/// `text` with its variables resolved. Every literal `$` in the result is doubled.
pub(crate) fn resolve(text: &str, lookup: Lookup<'_>) -> Result<String, Unresolved> {
    Reader { whole: text, rest: text, lookup }.text(0)
}

struct Reader<'a> {
    whole: &'a str,
    rest: &'a str,
    lookup: Lookup<'a>,
}

impl<'a> Reader<'a> {
    /// Up to the end of the text; within braces (`depth > 0`) up to the one that closes them.
    fn text(&mut self, depth: usize) -> Result<String, Unresolved> {
        if depth > DEPTH_MAX {
            return Err(self.malformed());
        }
        let mut out = String::new();
        loop {
            let stop =
                self.rest.find(|c| c == '$' || depth > 0 && c == '}').unwrap_or(self.rest.len());
            out.push_str(self.take(stop));
            if self.eat("$$") {
                out.push_str("$$");
            } else if self.eat("${") {
                out.push_str(&self.braced(depth)?);
            } else if self.eat("$") {
                let name = self.name()?;
                out.push_str(&self.value(name).ok_or_else(|| not_set(name))?);
            } else if depth == 0 || self.eat("}") {
                return Ok(out);
            } else {
                return Err(self.malformed());
            }
        }
    }

    /// What stands between `${` and `}`.
    fn braced(&mut self, depth: usize) -> Result<String, Unresolved> {
        let name = self.name()?;
        let value = self.value(name);
        if self.eat("}") {
            return value.ok_or_else(|| not_set(name));
        }
        let empty_counts = !self.eat(":");
        let value = value.filter(|v| empty_counts || !v.is_empty());
        let form = self.rest.chars().next().unwrap_or_default();
        match (form, value) {
            ('-', None) | ('+', Some(_)) => self.operand(depth),
            ('?', None) => {
                let why = self.operand(depth)?;
                let why = if why.is_empty() { "it is not set or empty" } else { &why };
                Err(Unresolved {
                    what: format!("variable `{name}` is needed: {why}"),
                    hint: hint(name),
                })
            }
            ('-' | '?', Some(value)) => self.skip_operand().map(|()| value),
            ('+', None) => self.skip_operand().map(|()| String::new()),
            _ => Err(self.malformed()),
        }
    }

    fn operand(&mut self, depth: usize) -> Result<String, Unresolved> {
        self.take(1);
        self.text(depth + 1)
    }

    /// Passes over an operand that is not used; its own variables need not be set.
    fn skip_operand(&mut self) -> Result<(), Unresolved> {
        self.take(1);
        let mut n_open = 1usize;
        while n_open > 0 {
            let stop = self.rest.find(['$', '}']).ok_or_else(|| self.malformed())?;
            self.take(stop);
            if self.eat("${") {
                n_open += 1;
            } else if self.eat("}") {
                n_open -= 1;
            } else if !self.eat("$$") {
                self.take(1);
            }
        }
        Ok(())
    }

    fn name(&mut self) -> Result<&'a str, Unresolved> {
        let stop = self
            .rest
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(self.rest.len());
        let name = self.take(stop);
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(self.malformed());
        }
        Ok(name)
    }

    fn value(&self, name: &str) -> Option<String> {
        (self.lookup)(name).map(|value| value.replace('$', "$$"))
    }

    fn take(&mut self, len: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(len);
        self.rest = rest;
        taken
    }

    fn eat(&mut self, prefix: &str) -> bool {
        self.rest.strip_prefix(prefix).inspect(|rest| self.rest = rest).is_some()
    }

    fn malformed(&self) -> Unresolved {
        Unresolved {
            what: format!(
                "`{}` is not a form of variable that is known",
                self.whole.escape_debug()
            ),
            hint: "write `${NAME}`, `${NAME:-default}` or `${NAME:?message}`, and `$$` for a `$`"
                .to_owned(),
        }
    }
}

fn not_set(name: &str) -> Unresolved {
    Unresolved { what: format!("variable `{name}` is not set"), hint: hint(name) }
}

fn hint(name: &str) -> String {
    format!("set it in the environment, or write `${{{name}:-default}}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_means_what_compose_means_by_it() {
        let lookup = |name: &str| match name {
            "SET" => Some("v".to_owned()),
            "EMPTY" => Some(String::new()),
            "PRICE" => Some("5$".to_owned()),
            _ => None,
        };
        for (text, want) in [
            ("a $SET b", Some("a v b")),
            ("${SET}${EMPTY}", Some("v")),
            ("$NOPE", None),
            ("${NOPE}", None),
            ("${SET-d}${EMPTY-d}${NOPE-d}", Some("vd")),
            ("${SET:-d}${EMPTY:-d}${NOPE:-d}", Some("vdd")),
            ("${SET?e}${EMPTY?e}", Some("v")),
            ("${NOPE?e}", None),
            ("${EMPTY:?e}", None),
            ("${SET+a}${EMPTY+a}${NOPE+a}", Some("aa")),
            ("${SET:+a}${EMPTY:+a}${NOPE:+a}", Some("a")),
            ("${NOPE:-${EMPTY:-${SET}}}", Some("v")),
            ("${SET:-${NOPE}}", Some("v")),
            ("${NOPE:-}", Some("")),
            ("${NOPE:-a:b/c}", Some("a:b/c")),
            ("$$SET $${SET}", Some("$$SET $${SET}")),
            ("$PRICE", Some("5$$")),
            ("}", Some("}")),
            ("$", None),
            ("$1", None),
            ("${}", None),
            ("${SET", None),
            ("${SET:-x", None),
            ("${SET:x}", None),
            ("${SET:", None),
            ("${a b}", None),
        ] {
            assert_eq!(resolve(text, &lookup).ok().as_deref(), want, "{text}");
        }
        let deep = "${N:-".repeat(50) + &"}".repeat(50);
        assert!(resolve(&deep, &lookup).is_err());
    }
}
