//! Opening the store's file: made whole or not at all, verified before it is written to, never shared.

use std::{
    fmt, fs,
    fs::File,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use flocker_ports::StoreError;
use redb::{Database, DatabaseError, StorageError, backends::FileBackend};
use rustix::fs::{Advice, CWD, RenameFlags, fadvise, renameat_with};

use super::{
    failed,
    tables::{self, Failure, Reader},
    trial::Trial,
};

/// Opens what redb writes to. Tests put a disk that fails in between.
type Medium = Box<dyn Fn(FileBackend) -> Result<Database, DatabaseError> + Send>;

/// Where the store is kept.
pub(super) struct StoreFile {
    path: PathBuf,
    medium: Medium,
}

impl StoreFile {
    pub(super) fn new(path: &Path) -> Self {
        Self::on(path, Box::new(|file| Database::builder().create_with_backend(file)))
    }

    /// A store on a medium of the caller's.
    pub(super) fn on(path: &Path, medium: Medium) -> Self {
        Self { path: path.to_owned(), medium }
    }

    /// The path, for people.
    pub(super) fn path(&self) -> String {
        self.path.display().to_string()
    }

    /// Opens the file, after making it where there is none and verifying it where there is one.
    pub(super) fn open(&self) -> Result<Database, StoreError> {
        match fs::metadata(&self.path) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.create()?,
            Err(error) => return Err(self.failed("open", &error)),
        }
        self.verify()?;
        self.open_verified()
    }

    /// Opens the file after a failure, with what is on the disk and not what the kernel remembers: after a failed sync
    /// it may remember what the disk never got.
    pub(super) fn reopen(&self) -> Result<Database, StoreError> {
        let file = File::open(&self.path).map_err(|error| self.failed("open", &error))?;
        fadvise(&file, 0, None, Advice::DontNeed)
            .map_err(|error| self.failed("read anew", &error))?;
        drop(file);
        self.verify()?;
        self.open_verified()
    }

    /// Makes an empty store under another name and moves it here, so that nobody ever sees half of one.
    fn create(&self) -> Result<(), StoreError> {
        let fail = |error: &dyn fmt::Display| self.failed("create", error);
        let fresh = self.path.with_added_extension("new");
        match fs::remove_file(&fresh) {
            Ok(()) => {
                tracing::debug!(file = %fresh.display(), "removed what an interrupted start left")
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(fail(&error)),
        }
        let database = Database::create(&fresh).map_err(|error| fail(&error))?;
        let writing = database.begin_write().map_err(|error| fail(&error))?;
        tables::create(&writing).map_err(|error| fail(&error))?;
        writing.commit().map_err(|error| fail(&error))?;
        drop(database);
        // Two that start at once: the second one's move fails, instead of replacing what the first may have written to.
        renameat_with(CWD, &fresh, CWD, &self.path, RenameFlags::NOREPLACE)
            .map_err(|error| fail(&error))?;
        let folder = self
            .path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| fail(&error))
    }

    /// Reads everything without changing the file. Repairs after a crash are tried out in memory.
    fn verify(&self) -> Result<(), StoreError> {
        let file = self.backend()?;
        // redb promises an error for a damaged file, and where it is wrong about that the file is just as damaged.
        let verified = catch_unwind(AssertUnwindSafe(|| {
            let trial = Trial::new(file).map_err(|error| Failure::from(StorageError::Io(error)))?;
            let database =
                Database::builder().set_check_integrity_on_open(true).create_with_backend(trial)?;
            let reader = Reader::of(&database)?;
            let version = reader.version()?;
            if version == Some(tables::VERSION) {
                reader.verify()?;
            }
            Ok::<_, Failure>(version)
        }));
        match verified {
            Ok(Ok(Some(tables::VERSION))) => Ok(()),
            Ok(Ok(Some(other))) => Err(StoreError::Failed {
                action: format!("could not open the store file `{}`", self.path()),
                reason: format!(
                    "it is of version {other}, this program knows version {}\nhint: start the newer flocker-runtime \
                     that wrote it",
                    tables::VERSION
                ),
            }),
            Ok(Ok(None)) => Err(self.corrupt("it is a database of another program".into())),
            Ok(Err(failure)) => Err(self.explain(failure)),
            Err(_) => Err(self.corrupt("its pages do not fit together".into())),
        }
    }

    fn open_verified(&self) -> Result<Database, StoreError> {
        (self.medium)(self.backend()?).map_err(|error| self.explain(error.into()))
    }

    fn backend(&self) -> Result<FileBackend, StoreError> {
        let file = File::options().read(true).write(true).open(&self.path);
        let file = file.map_err(|error| self.failed("open", &error))?;
        let len = file.metadata().map_err(|error| self.failed("open", &error))?.len();
        if len == 0 {
            // redb would make a new database of it. But our stores are never empty files, so this one was cut.
            return Err(self.corrupt("it is empty".into()));
        }
        FileBackend::new(file).map_err(|error| self.explain(error.into()))
    }

    /// What redb's refusal means.
    fn explain(&self, failure: Failure) -> StoreError {
        match failure {
            Failure::Redb(redb::Error::DatabaseAlreadyOpen) => StoreError::Failed {
                action: format!("could not open the store file `{}`", self.path()),
                reason: "another process has it open\nhint: is another flocker-runtime running with the same state \
                         directory?"
                    .into(),
            },
            Failure::Redb(redb::Error::Io(error))
                if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
            {
                self.corrupt(error.to_string())
            }
            Failure::Redb(redb::Error::UpgradeRequired(version)) => {
                self.corrupt(format!("it is a database in the old format {version}"))
            }
            other @ (Failure::Redb(_) | Failure::Store(_)) => other.into_store_error(&self.path()),
        }
    }

    fn corrupt(&self, reason: String) -> StoreError {
        StoreError::Corrupt { path: self.path(), reason }
    }

    fn failed(&self, verb: &str, error: &dyn fmt::Display) -> StoreError {
        failed(&format!("could not {verb} the store file `{}`", self.path()), error)
    }
}
