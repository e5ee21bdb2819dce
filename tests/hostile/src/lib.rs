//! Plugins that do harm, each with what must become of it. The host's own tests and the scenarios with real daemons load
//! the same ones.

mod backends;
mod forge;
mod made;
mod policies;

use std::fs;

pub use backends::{BACKENDS, BackendCase, Becomes, MadeBackend, Verb, grants};
pub use forge::{backend, policy};
pub use policies::POLICIES;

/// One hostile plugin.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// What the plugin calls itself, unless that is the trick; its file is `cases/NAME.wat`, if it has one.
    pub name: &'static str,
    /// How it is made.
    pub made: Made,
    /// What must become of it.
    pub expect: Expect,
}

/// Where a plugin comes from.
#[derive(Debug, Clone, Copy)]
pub enum Made {
    /// From the file of its name, which says in its first line what it does.
    Text,
    /// By a function, as it is too large or too broken to be written down.
    Bytes(fn() -> Vec<u8>),
}

/// What a plugin is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Where an app goes.
    Place,
    /// What had better be elsewhere.
    Rebalance,
    /// What is due when.
    Schedule,
    /// Which copies may go.
    Prune,
    /// What becomes of the volumes of a silent node.
    FailOver,
}

/// What must become of a plugin, beside decisions that are made and neighbours that notice nothing.
#[derive(Debug, Clone, Copy)]
pub enum Expect {
    /// It is not loaded; the operator is told so in these words.
    Refused(&'static str),
    /// It is loaded, and fails at this question: the class, and words of the message.
    Fails(Question, &'static str, &'static str),
    /// It fails at where an app goes, and only while it is tried out: the class, and words of the message.
    FailsInShadow(&'static str, &'static str),
    /// It is loaded and answers this question, as it may; the decision shows these words of it.
    Answers(Question, &'static str),
}

impl Case {
    /// What it is asked, once it is loaded.
    #[must_use]
    pub fn question(&self) -> Option<Question> {
        match self.expect {
            Expect::Refused(_) => None,
            Expect::Fails(asked, ..) | Expect::Answers(asked, _) => Some(asked),
            Expect::FailsInShadow(..) => Some(Question::Place),
        }
    }

    /// The plugin's bytes.
    ///
    /// # Panics
    /// When the case is none.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        match self.made {
            Made::Text => policy(self.name, &text("cases", self.name)),
            Made::Bytes(make) => make(),
        }
    }
}

/// A case's own text.
fn text(folder: &str, name: &str) -> String {
    let path = forge::folder(folder).join(format!("{name}.wat"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("`{}`: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_file_is_a_case_and_says_what_it_does() {
        let policies = POLICIES.iter().filter(|case| matches!(case.made, Made::Text));
        check("cases", policies.map(|case| case.name.to_owned()).collect());
        let backends = BACKENDS.iter().filter(|case| matches!(case.made, MadeBackend::Text));
        check("backends", backends.map(|case| case.name.to_owned()).collect());
    }

    #[track_caller]
    fn check(folder: &str, cases: BTreeSet<String>) {
        let files: BTreeSet<_> = fs::read_dir(forge::folder(folder))
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        assert_eq!(cases, files);
        for name in files {
            let text = text(folder, &name);
            let first = text.lines().next().unwrap();
            assert!(first.starts_with(";; ") && first.ends_with('.'), "`{name}`: {first}");
        }
    }

    #[test]
    fn there_are_enough_of_them_and_each_can_be_built() {
        assert!(POLICIES.len() >= 44, "only {}", POLICIES.len());
        let names: BTreeSet<_> = POLICIES.iter().map(|case| case.name).collect();
        assert_eq!(names.len(), POLICIES.len(), "two cases have one name");
        for case in POLICIES {
            // A file of nothing is one of them.
            drop(case.build());
        }
        assert!(BACKENDS.len() >= 20, "only {}", BACKENDS.len());
        let names: BTreeSet<_> = BACKENDS.iter().map(|case| case.name).collect();
        assert_eq!(names.len(), BACKENDS.len(), "two backends have one name");
        for case in BACKENDS {
            drop(case.build());
        }
    }
}
