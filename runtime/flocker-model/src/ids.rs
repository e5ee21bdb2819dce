//! Names and ids. Each is its own type, so that the compiler catches a swap.

use std::fmt;

/// A name that was refused, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not a valid {kind}: {reason}")]
pub struct InvalidName {
    /// What it should have been: "node name", "app name", …
    pub kind: &'static str,
    /// What was given.
    pub name: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// Names become parts of paths, host names and container names, so they are as narrow as the narrowest of these.
fn check(
    kind: &'static str,
    name: &str,
    extra: &[char],
    length_max: usize,
) -> Result<(), InvalidName> {
    let refuse = |reason| Err(InvalidName { kind, name: name.to_owned(), reason });
    if name.is_empty() {
        return refuse("it is empty");
    }
    if name.len() > length_max {
        return refuse("it is too long");
    }
    if !name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()) {
        return refuse("it must start with a lower-case letter or a digit");
    }
    if !name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || extra.contains(&c)) {
        return refuse("only lower-case letters, digits and `-`, `_`, `.` are allowed");
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal, $extra:expr, $length_max:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(String);

        impl $type {
            /// Checks the name and takes it.
            ///
            /// # Errors
            /// [`InvalidName`] when it is empty, too long, or holds a character that is not allowed.
            pub fn new(name: impl Into<String>) -> Result<Self, InvalidName> {
                let name = name.into();
                check($kind, &name, $extra, $length_max)?;
                Ok(Self(name))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }

        impl std::str::FromStr for $type {
            type Err = InvalidName;
            fn from_str(name: &str) -> Result<Self, InvalidName> {
                Self::new(name)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(
    /// A machine of the cluster.
    NodeName, "node name", &['-'], 40
);
name!(
    /// An app: a Compose project, deployed and moved as one unit.
    AppName, "app name", &['-', '_'], 40
);
name!(
    /// One container of an app (what Compose calls a service).
    ContainerName, "container name", &['-', '_', '.'], 63
);
name!(
    /// A published port of an app, as people refer to it.
    ServiceName, "service name", &['-', '_', '.'], 63
);
name!(
    /// A volume as people refer to it: `APP.NAME` for the volumes of an app.
    VolumeName, "volume name", &['-', '_', '.'], 104
);
name!(
    /// A volume as machines refer to it. Never used again, so a deleted volume's name may be.
    VolumeId, "volume id", &['-'], 64
);
name!(
    /// A snapshot of ours.
    SnapshotTag, "snapshot tag", &['-', '_', '.'], 100
);
name!(
    /// A key or a password, by which every node finds its own copy of it.
    SecretName, "secret name", &['-', '_', '.'], 63
);
name!(
    /// An operation. Ids made later sort later.
    OperationId, "operation id", &['-'], 64
);

/// How many times the ownership of a volume or an app has changed. Only ever grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch of something that was just created.
    pub const FIRST: Self = Self(1);

    /// The epoch after the next change of owner.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A moment in the history of the cluster store: each committed transaction makes the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// By what a node is known on streams: the SHA-256 of its public key, which it announces in its record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamKey(pub [u8; 32]);

impl fmt::Display for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl std::str::FromStr for StreamKey {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let reason = "it has 64 hexadecimal digits";
        let refuse = || InvalidName { kind: "stream key", name: text.to_owned(), reason };
        let mut key = [0; 32];
        if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(refuse());
        }
        for (at, byte) in key.iter_mut().enumerate() {
            let digits = text.get(2 * at..2 * at + 2).ok_or_else(refuse)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| refuse())?;
        }
        Ok(Self(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_key_is_read_as_it_is_written_and_as_nothing_else() {
        let key = StreamKey(std::array::from_fn(|at| at as u8 * 7));
        let text = key.to_string();

        assert_eq!(text.parse(), Ok(key));
        for bad in ["", &text[1..], &format!("{text}0"), &text.replace("07", "+7")] {
            assert!(bad.parse::<StreamKey>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_that_could_leave_its_folder_is_refused() {
        for bad in ["", ".", "..", "a/b", "A", "-x", "a b", "ü", "a\0"] {
            assert!(NodeName::new(bad).is_err(), "{bad:?}");
            assert!(VolumeName::new(bad).is_err(), "{bad:?}");
        }
    }
}
