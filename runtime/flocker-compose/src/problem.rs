//! What is wrong with a Compose file: where, what, and what to do about it.

use std::fmt;

/// One thing in a Compose file that is wrong or not supported.
///
/// Displays as `compose.yaml:12: services.web.build: not supported`, followed by a `hint:` line where one is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, as the operator named it; `compose.yaml` until [`Problem::in_file`] says otherwise.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The place in the file: `services.web.ports[0]`. Empty when it is the file itself.
    pub path: String,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Problem {
    pub(crate) fn new(line: usize, path: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            file: "compose.yaml".to_owned(),
            line,
            path: path.into(),
            what: what.into(),
            hint: None,
        }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// The same problem, in a file of another name.
    #[must_use]
    pub fn in_file(self, file: impl Into<String>) -> Self {
        Self { file: file.into(), ..self }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file, self.line)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.what)?;
        self.hint.iter().try_for_each(|hint| write!(f, "\nhint: {hint}"))
    }
}

impl std::error::Error for Problem {}
