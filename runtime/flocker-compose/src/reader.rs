//! Walks the tree with a path for error messages, and collects problems instead of stopping at the first.

use std::{fmt::Display, str::FromStr};

use crate::{
    Problem,
    yaml::{Node, Value},
};

/// The problems found so far.
pub(crate) type Problems = Vec<Problem>;

/// A value, and how people find it in the file.
#[derive(Debug, Clone)]
pub(crate) struct Field<'a> {
    pub(crate) path: String,
    /// The line of its key, or of the value where it has none.
    pub(crate) line: usize,
    pub(crate) node: &'a Node,
}

impl<'a> Field<'a> {
    pub(crate) fn problem(&self, what: impl Into<String>) -> Problem {
        Problem::new(self.line, self.path.clone(), what)
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self.node.value, Value::Null)
    }

    /// The text, with `$$` made one `$`.
    pub(crate) fn text(&self, problems: &mut Problems) -> Option<String> {
        let wrong = match &self.node.value {
            Value::Text(text) => match unescape(text) {
                Ok(text) => return Some(text),
                Err(what) => self
                    .problem(what)
                    .hint("deploy the file with `flocker app deploy`, which resolves variables, or write `$$` for a `$`"),
            },
            Value::Null => self.problem("a value is missing"),
            Value::List(_) => self.problem("a single value is expected here, not a list"),
            Value::Map(_) => self.problem("a single value is expected here, not a mapping"),
        };
        problems.push(wrong);
        None
    }

    /// The text, read as something narrower.
    pub(crate) fn parse<T: FromStr<Err: Display>>(&self, problems: &mut Problems) -> Option<T> {
        self.read(problems, |text| text.parse().map_err(|e: T::Err| e.to_string()))
    }

    /// The text, read by `with`.
    pub(crate) fn read<T>(
        &self,
        problems: &mut Problems,
        with: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.text(problems)?;
        with(&text).map_err(|what| problems.push(self.problem(what))).ok()
    }

    /// The items of a list; nothing at all is an empty list.
    pub(crate) fn list(&self, problems: &mut Problems) -> Vec<Field<'a>> {
        match &self.node.value {
            Value::List(items) => items
                .iter()
                .enumerate()
                .map(|(idx, node)| Field {
                    path: format!("{}[{idx}]", self.path),
                    line: node.line,
                    node,
                })
                .collect(),
            Value::Null => Vec::new(),
            Value::Text(_) | Value::Map(_) => {
                problems.push(self.problem("a list is expected here"));
                Vec::new()
            }
        }
    }

    /// The entries of a mapping; nothing at all is an empty mapping.
    pub(crate) fn map(&self, problems: &mut Problems) -> Fields<'a> {
        let fields = match &self.node.value {
            Value::Map(entries) => entries
                .iter()
                .map(|(key, node)| (key.text.as_str(), self.child(&key.text, key.line, node)))
                .collect(),
            Value::Null => Vec::new(),
            Value::Text(_) | Value::List(_) => {
                problems.push(self.problem("a mapping (`key: value`) is expected here"));
                Vec::new()
            }
        };
        Fields { fields }
    }

    fn child(&self, key: &str, line: usize, node: &'a Node) -> Field<'a> {
        let path =
            if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
        Field { path, line, node }
    }
}

/// The entries of a mapping that nobody has taken yet.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    fields: Vec<(&'a str, Field<'a>)>,
}

impl<'a> Fields<'a> {
    /// The entry of this key, if the mapping has it.
    pub(crate) fn take(&mut self, key: &str) -> Option<Field<'a>> {
        let idx = self.fields.iter().position(|(k, _)| *k == key)?;
        Some(self.fields.remove(idx).1)
    }

    /// All entries that are left, in the order of the file.
    pub(crate) fn rest(self) -> Vec<(&'a str, Field<'a>)> {
        self.fields
    }

    /// Whatever nobody took is refused by name, but for extensions, which Compose allows everywhere.
    pub(crate) fn refuse_rest(
        self,
        problems: &mut Problems,
        hint: impl Fn(&str) -> Option<&'static str>,
    ) {
        let is_extension = |key: &str| key.starts_with("x-") && key != "x-flocker";
        for (key, field) in self.fields.into_iter().filter(|(key, _)| !is_extension(key)) {
            let problem = field.problem(format!("`{key}` is not supported"));
            problems.push(match hint(key) {
                Some(hint) => problem.hint(hint),
                None => problem,
            });
        }
    }
}

/// One `$` for two; a single one is a variable that nobody resolved.
fn unescape(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c == '$' && chars.next() != Some('$') {
            return Err(format!("`{text}` holds a variable that was not resolved"));
        }
        out.push(c);
    }
    Ok(out)
}
