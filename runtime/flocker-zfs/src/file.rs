//! A pool in a file, for whoever wants to try ZFS without a disk for it: made once, imported again after a restart.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use flocker_model::ByteSize;
use flocker_system::command::find;

use crate::{backend::OpenError, command::run};

/// A pool in a file of ours. Its name is that of the file, without what follows the dot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolFile {
    /// The file. It takes only the room of what is written to it.
    pub path: PathBuf,
    /// The size of a pool that has to be made.
    pub size: ByteSize,
}

impl PoolFile {
    /// The name of the pool that a file at `path` holds.
    #[must_use]
    pub fn pool(path: &Path) -> String {
        path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Sees to it that the pool is there and imported. Answers its name.
    ///
    /// # Errors
    /// [`OpenError::NoCommand`], or [`OpenError::File`] when it cannot be made or imported, or another pool has its name.
    pub async fn ensure(&self) -> Result<String, OpenError> {
        let zpool = find("zpool").ok_or(OpenError::NoCommand)?;
        let path = std::path::absolute(&self.path).map_err(|error| self.failed(&error))?;
        let (name, place) = (Self::pool(&path), path.to_string_lossy().into_owned());
        if let Ok(listed) = run(&zpool, &["list", "-vHPL", &name]).await {
            let shows = |line: &str| line.split('\t').any(|word| word == place);
            if listed.lines().any(shows) {
                return Ok(name);
            }
            return Err(self.failed(&format!(
                "there is another pool `{name}`\nhint: give the file another name"
            )));
        }
        let done = if path.is_file() {
            let import = ["import", "-o", "cachefile=none", "-d", &place, &name];
            run(&zpool, &import).await
        } else {
            self.make(&zpool, &path, &name).await
        };
        done.map(|_| name).map_err(|reason| self.failed(&reason))
    }

    async fn make(&self, zpool: &Path, path: &Path, name: &str) -> Result<String, String> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|error| error.to_string())?;
        }
        let made = File::create_new(path).and_then(|file| file.set_len(self.size.0));
        made.map_err(|error: io::Error| error.to_string())?;
        let place = path.to_string_lossy();
        // Disks have sectors of 4 KiB, which a file does not tell.
        let options = ["-o", "cachefile=none", "-o", "ashift=12", "-O", "compression=lz4"];
        let create = [&["create"][..], &options, &["-O", "mountpoint=none", name, &place]].concat();
        let created = run(zpool, &create).await;
        if created.is_err() {
            // It is empty, and the next attempt would take it for a pool.
            let _ = fs::remove_file(path);
        }
        created
    }

    fn failed(&self, reason: &dyn std::fmt::Display) -> OpenError {
        OpenError::File { path: self.path.clone(), reason: reason.to_string() }
    }
}
