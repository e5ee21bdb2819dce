//! The proof that a folder is the volume that it should be: device, inode, and whether it can be written.

use std::{fmt, io, os::unix::fs::MetadataExt, path::PathBuf};

use rustix::fs::StatVfsMountFlags;

/// A folder that must be a certain volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Where the app sees it.
    pub path: PathBuf,
    /// `st_dev` that it must have.
    pub device: u64,
    /// `st_ino` that it must have.
    pub inode: u64,
    /// Whether it must be mounted for reading only; otherwise it must not.
    pub read_only: bool,
}

/// Why a proof failed.
#[derive(Debug)]
pub enum Unproved {
    /// Nothing could be learned about the path.
    Unreadable { path: PathBuf, source: io::Error },
    /// Something else is there.
    Foreign { proof: Proof, device: u64, inode: u64 },
    /// It is the volume, mounted the wrong way.
    Mode { proof: Proof },
}

impl Proof {
    /// Looks at the path.
    ///
    /// # Errors
    /// [`Unproved`], which says what is there instead.
    pub fn check(&self) -> Result<(), Unproved> {
        let unreadable = |source| Unproved::Unreadable { path: self.path.clone(), source };
        let seen = std::fs::metadata(&self.path).map_err(unreadable)?;
        if (seen.dev(), seen.ino()) != (self.device, self.inode) {
            return Err(Unproved::Foreign {
                proof: self.clone(),
                device: seen.dev(),
                inode: seen.ino(),
            });
        }
        let mode = rustix::fs::statvfs(&self.path).map_err(|error| unreadable(error.into()))?;
        if mode.f_flag.contains(StatVfsMountFlags::RDONLY) != self.read_only {
            return Err(Unproved::Mode { proof: self.clone() });
        }
        Ok(())
    }
}

impl std::error::Error for Unproved {}

impl fmt::Display for Unproved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, source } => {
                write!(f, "could not look at `{}`: {source}", path.display())
            }
            Self::Foreign { proof, device, inode } => write!(
                f,
                "`{}` is not the volume: device {device} and inode {inode} instead of {} and {}",
                proof.path.display(),
                proof.device,
                proof.inode
            ),
            Self::Mode { proof } => write!(
                f,
                "`{}` is mounted for {}",
                proof.path.display(),
                if proof.read_only { "writing, and should be read-only" } else { "reading only" }
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_folder_itself_is_proved() {
        let folder = tempfile::tempdir().unwrap();
        let seen = folder.path().metadata().unwrap();
        let proof = Proof {
            path: folder.path().into(),
            device: seen.dev(),
            inode: seen.ino(),
            read_only: false,
        };

        assert!(proof.check().is_ok());
        let other = Proof { inode: seen.ino() + 1, ..proof.clone() };
        assert!(matches!(other.check(), Err(Unproved::Foreign { .. })));
        let locked = Proof { read_only: true, ..proof.clone() };
        assert!(matches!(locked.check(), Err(Unproved::Mode { .. })));
        let missing = Proof { path: folder.path().join("none"), ..proof };
        assert!(matches!(missing.check(), Err(Unproved::Unreadable { .. })));
    }
}
