//! What a volume is to be like, on every node that has a copy of it.

use std::{fmt, str::FromStr};

use crate::{ByteSize, InvalidQuantity, SecretName};

/// What a volume is to be like. Storage that cannot keep an option that matters (`reserved`, `secret`) refuses it; one
/// that only makes things faster or smaller (`record_size`, `compression`) it may leave out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeOptions {
    /// The most that may be written to it.
    pub size: ByteSize,
    /// In blocks of which size files are kept; `None`: as the storage would.
    pub record_size: Option<RecordSize>,
    /// How its content is compressed; `None`: as the storage would.
    pub compression: Option<Compression>,
    /// The pool keeps room for all of `size` while the volume is writable there.
    pub reserved: bool,
    /// Its content is encrypted with the key of this name, which every node that has a copy must know. It leaves a node
    /// only encrypted.
    pub secret: Option<SecretName>,
}

/// Nothing but a size.
impl From<ByteSize> for VolumeOptions {
    fn from(size: ByteSize) -> Self {
        Self { size, record_size: None, compression: None, reserved: false, secret: None }
    }
}

/// How content is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all: it is compressed already.
    Off,
    /// Fast; the storage may have another one like it.
    Lz4,
    /// Small.
    Zstd,
}

impl Compression {
    /// As people write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Compression {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        let known = [Self::Off, Self::Lz4, Self::Zstd];
        known.into_iter().find(|known| known.as_str() == text).ok_or_else(|| InvalidQuantity {
            text: text.to_owned(),
            expected: "a compression: `off`, `lz4` or `zstd`",
        })
    }
}

/// The size of the blocks in which a file is kept: a power of two from 4 KiB to 1 MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordSize(ByteSize);

impl RecordSize {
    /// What OpenZFS advises for the 16 KiB pages of InnoDB.
    const DATABASE_16: Self = Self(ByteSize(16 << 10));
    /// What OpenZFS advises for PostgreSQL: larger than its pages of 8 KiB, for the sake of compression.
    const DATABASE_32: Self = Self(ByteSize(32 << 10));
    /// What OpenZFS advises for files that are written once and read from one end to the other.
    const LARGE: Self = Self(ByteSize::mib(1));

    /// Checks the size and takes it.
    ///
    /// # Errors
    /// [`InvalidQuantity`] when it is no power of two from 4 KiB to 1 MiB.
    pub fn new(size: ByteSize) -> Result<Self, InvalidQuantity> {
        if size.0.is_power_of_two() && (4 << 10..=1 << 20).contains(&size.0) {
            return Ok(Self(size));
        }
        let expected = "a record size: a power of two from 4KiB to 1MiB";
        Err(InvalidQuantity { text: size.to_string(), expected })
    }

    /// The bytes of a full block.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0.0
    }
}

impl fmt::Display for RecordSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for RecordSize {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        Self::new(text.parse()?)
    }
}

/// Options that belong together, by what a volume is for. The figures are those of OpenZFS's advice on workloads:
/// <https://openzfs.github.io/openzfs-docs/Performance%20and%20Tuning/Workload%20Tuning.html>.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Whatever the storage does by itself.
    General,
    /// Data of PostgreSQL: records of 32 KiB, lz4.
    Postgres,
    /// Data of MySQL or MariaDB: records of 16 KiB, lz4.
    Mysql,
    /// Films, pictures, music: records of 1 MiB, not compressed once more.
    Media,
    /// Logs, dumps, backups: records of 1 MiB, zstd.
    Archive,
}

impl Profile {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::General, Self::Postgres, Self::Mysql, Self::Media, Self::Archive];

    /// As people write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::General => "general",
            Self::Postgres => "postgres",
            Self::Mysql => "mysql",
            Self::Media => "media",
            Self::Archive => "archive",
        }
    }

    /// The record size and the compression that it stands for.
    #[must_use]
    pub const fn choices(self) -> (Option<RecordSize>, Option<Compression>) {
        match self {
            Self::General => (None, None),
            Self::Postgres => (Some(RecordSize::DATABASE_32), Some(Compression::Lz4)),
            Self::Mysql => (Some(RecordSize::DATABASE_16), Some(Compression::Lz4)),
            Self::Media => (Some(RecordSize::LARGE), Some(Compression::Off)),
            Self::Archive => (Some(RecordSize::LARGE), Some(Compression::Zstd)),
        }
    }
}

impl FromStr for Profile {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        Self::ALL.into_iter().find(|known| known.as_str() == text).ok_or_else(|| InvalidQuantity {
            text: text.to_owned(),
            expected: "a profile: `general`, `postgres`, `mysql`, `media` or `archive`",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_size_is_a_power_of_two_within_what_storage_keeps() {
        for good in ["4KiB", "16k", "1MiB"] {
            good.parse::<RecordSize>().unwrap();
        }
        for bad in ["2KiB", "24k", "2MiB", "0", "many"] {
            bad.parse::<RecordSize>().unwrap_err();
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for profile in Profile::ALL {
            assert_eq!(profile.as_str().parse(), Ok(profile));
        }
        for compression in [Compression::Off, Compression::Lz4, Compression::Zstd] {
            assert_eq!(compression.to_string().parse(), Ok(compression));
        }
        assert!("best".parse::<Profile>().unwrap_err().to_string().contains("`postgres`"));
    }
}
