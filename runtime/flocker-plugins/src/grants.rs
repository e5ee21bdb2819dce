//! What an operator lets a storage backend have. A backend gets what it asks for *and* was granted, nothing else.

use std::{collections::BTreeMap, path::PathBuf, str::FromStr};

use flocker_model::ByteSize;

/// One thing that an operator grants: `directory=NAME:PATH` or `kv=SIZE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    /// A directory of this machine, which the plugin sees as `/NAME`.
    Directory {
        /// What the plugin knows it by.
        name: String,
        /// Where it is.
        path: PathBuf,
    },
    /// A durable store of its own for keys and values of at most so many bytes together.
    Kv(ByteSize),
}

/// A grant that was not understood, or cannot be given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// It has another form.
    #[error("`{text}` is no grant: {reason}\nhint: a grant is `directory=NAME:/PATH` or `kv=SIZE`")]
    Form { text: String, reason: String },
    /// It is a kind of grant that this host does not give yet.
    #[error(
        "this host cannot grant `{0}` yet\nhint: it grants `directory=NAME:/PATH` and `kv=SIZE`; a backend that needs more has to be native"
    )]
    NotYet(String),
    /// Two grants by one name.
    #[error("`{0}` is granted twice\nhint: give each directory a name of its own, and `kv` once")]
    Twice(String),
}

/// Kinds that the contract has and this host does not give: each needs a guard of its own.
const NOT_YET: [&str; 4] = ["http", "command", "device", "secret"];

impl FromStr for Grant {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, GrantError> {
        let refuse =
            |reason: &str| GrantError::Form { text: text.to_owned(), reason: reason.to_owned() };
        let (kind, what) = text.split_once('=').unwrap_or((text, ""));
        match kind {
            "directory" => {
                let (name, path) =
                    what.split_once(':').ok_or_else(|| refuse("it has no name and path"))?;
                let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
                if name.is_empty() || !name.chars().all(fine) {
                    return Err(refuse("a name has lower-case letters, digits and `-`"));
                }
                let path = PathBuf::from(path);
                if !path.is_absolute() {
                    return Err(refuse("the path must be absolute"));
                }
                Ok(Self::Directory { name: name.to_owned(), path })
            }
            "kv" => Ok(Self::Kv(
                what.parse().map_err(|e: flocker_model::InvalidQuantity| refuse(&e.to_string()))?,
            )),
            other if NOT_YET.contains(&other) => Err(GrantError::NotYet(other.to_owned())),
            _ => Err(refuse("this kind is not known")),
        }
    }
}

/// All grants of one plugin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    /// By the name that the plugin knows them by.
    pub(crate) directories: BTreeMap<String, PathBuf>,
    pub(crate) kv: Option<ByteSize>,
}

impl Grants {
    /// Puts grants together.
    ///
    /// # Errors
    /// [`GrantError::Twice`].
    pub fn new(grants: impl IntoIterator<Item = Grant>) -> Result<Self, GrantError> {
        let mut all = Self::default();
        for grant in grants {
            match grant {
                Grant::Directory { name, path } => {
                    if all.directories.insert(name.clone(), path).is_some() {
                        return Err(GrantError::Twice(format!("directory={name}")));
                    }
                }
                Grant::Kv(bytes) => {
                    if all.kv.replace(bytes).is_some() {
                        return Err(GrantError::Twice("kv".to_owned()));
                    }
                }
            }
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_are_read_as_operators_write_them() {
        let directory = Grant::Directory { name: "pool".into(), path: "/srv/a:b".into() };
        assert_eq!("directory=pool:/srv/a:b".parse(), Ok(directory));
        assert_eq!("kv=1MiB".parse(), Ok(Grant::Kv(ByteSize::mib(1))));
        for (text, word) in [
            ("directory=pool", "no name and path"),
            ("directory=:/srv", "a name has"),
            ("directory=../x:/srv", "a name has"),
            ("directory=pool:srv", "absolute"),
            ("kv=much", "size"),
            ("root", "not known"),
            ("http=https://array.example", "cannot grant `http` yet"),
            ("device=/dev/sda", "cannot grant `device` yet"),
        ] {
            let said = text.parse::<Grant>().unwrap_err().to_string();
            assert!(said.contains(word) && said.contains("hint:"), "{text}: {said}");
        }
    }

    #[test]
    fn a_name_stands_for_one_directory() {
        let twice = ["directory=a:/x", "directory=a:/y"].map(|text| text.parse().unwrap());
        assert_eq!(Grants::new(twice), Err(GrantError::Twice("directory=a".into())));
    }
}
