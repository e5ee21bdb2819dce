//! What arrived of an unfinished stream, kept on disk, since `btrfs receive` itself cannot be continued.
//!
//! Nothing here is flushed: a prefix that a power cut damaged has another hash than the sender's, and the stream is then
//! sent from its beginning.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use flocker_model::{Epoch, Point, VolumeId};
use flocker_ports::{BackendError, ResumeToken};
use serde::{Deserialize, Serialize};

use crate::{
    backend::Node,
    layout::SNAP,
    settle::list,
    sidecar::{self, gone_is_fine, replace},
};

/// Which stream the kept bytes belong to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct About {
    version: u32,
    base: Option<String>,
    to: String,
    tag: String,
}

impl About {
    pub(crate) fn new(base: Option<&Point>, to: &Point) -> Self {
        let base = base.map(|base| base.guid.0.clone());
        Self { version: 1, base, to: to.guid.0.clone(), tag: to.tag.to_string() }
    }
}

/// The unfinished receive of one volume.
#[derive(Debug, Clone)]
pub(crate) struct Spool {
    folder: PathBuf,
}

impl Spool {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub(crate) fn stream(&self) -> PathBuf {
        self.folder.join("stream")
    }

    /// A throw-away snapshot of what arrived, taken for its flush.
    pub(crate) fn flush(&self) -> PathBuf {
        self.folder.join("flush")
    }

    fn about(&self) -> PathBuf {
        self.folder.join("about.json")
    }

    /// Which stream the bytes belong to; `None` also when that cannot be read, since they are of no use then.
    fn read_about(&self) -> Option<About> {
        serde_json::from_slice(&fs::read(self.about()).ok()?).ok()
    }

    /// A folder for a fresh attempt. A process of an earlier attempt may still be dying in its own.
    pub(crate) fn landing(&self, attempt: u64) -> PathBuf {
        self.folder.join(format!("{LANDING}{attempt}"))
    }

    /// The subvolumes that earlier attempts left.
    pub(crate) fn left(&self) -> io::Result<Vec<PathBuf>> {
        let mut left = vec![self.flush()];
        for name in list(&self.folder)? {
            if name.to_string_lossy().starts_with(LANDING) {
                // Until it is complete, a received subvolume may go by any name that the stream says.
                let landing = self.folder.join(name);
                left.extend(list(&landing)?.into_iter().map(|name| landing.join(name)));
            }
        }
        Ok(left)
    }

    /// Makes the folder ready for `about`; bytes of another stream are thrown away. Answers how far it has come.
    pub(crate) fn prepare(
        &self,
        about: &About,
        landing: &Path,
    ) -> io::Result<(u64, Option<ResumeToken>)> {
        fs::create_dir_all(&self.folder)?;
        if self.read_about().as_ref() != Some(about) {
            gone_is_fine(fs::remove_file(self.stream()))?;
            replace(&self.about(), &serde_json::to_vec(about)?)?;
        }
        self.remove_landings()?;
        fs::create_dir(landing)?;
        match File::open(self.stream()) {
            Ok(file) => {
                let (offset, hash) = hash_prefix(file)?;
                Ok((offset, (offset > 0).then(|| encode(offset, &hash))))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((0, None)),
            Err(error) => Err(error),
        }
    }

    /// Folders whose subvolume is gone. One in which something still dies is left for the next attempt.
    fn remove_landings(&self) -> io::Result<()> {
        for name in list(&self.folder)? {
            if name.to_string_lossy().starts_with(LANDING) {
                let _ = fs::remove_dir(self.folder.join(name));
            }
        }
        Ok(())
    }

    fn remove(&self) -> io::Result<()> {
        gone_is_fine(fs::remove_file(self.stream()))?;
        gone_is_fine(fs::remove_file(self.about()))?;
        gone_is_fine(fs::remove_file(self.about().with_extension("new")))?;
        self.remove_landings()?;
        gone_is_fine(fs::remove_dir(&self.folder))
    }
}

const LANDING: &str = "landing.";

impl Node {
    pub(crate) fn spool(&self, volume: &VolumeId) -> Spool {
        Spool::new(self.layout().incoming(volume))
    }

    /// Removes what an unfinished receive left, if there was one.
    pub(crate) async fn discard_incoming(&self, volume: &VolumeId) -> Result<(), BackendError> {
        let folder = self.layout().incoming(volume);
        if !self.btrfs().is_there(&folder)? {
            return Ok(());
        }
        self.delete_left(volume).await?;
        let spool = self.spool(volume);
        self.files("could not remove an unfinished receive", &folder, move |_| spool.remove()).await
    }

    /// After a restart: what belongs to no volume, or to a snapshot that is here, is of no use any more.
    pub(crate) async fn tidy_incoming(&self, volume: &VolumeId) -> Result<(), BackendError> {
        let orphaned = matches!(sidecar::read(self.layout(), volume), Ok(None));
        let about = self.spool(volume).read_about();
        let points = self.points(volume).await?;
        let here =
            about.is_some_and(|about| points.iter().any(|(point, _)| point.guid.0 == about.to));
        if orphaned || here { self.discard_incoming(volume).await } else { Ok(()) }
    }

    /// Removes the subvolumes of earlier attempts, and keeps the bytes.
    pub(crate) async fn delete_left(&self, volume: &VolumeId) -> Result<(), BackendError> {
        let folder = self.layout().incoming(volume);
        let left = self.spool(volume).left();
        let left = left.map_err(|error| {
            self.btrfs().io("could not list an unfinished receive", &folder, &error)
        })?;
        self.btrfs().delete_rubbish(&left).await
    }
}

fn hash_prefix(mut file: File) -> io::Result<(u64, blake3::Hash)> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((hasher.count(), hasher.finalize())),
            n => {
                hasher.update(&buffer[..n]);
            }
        }
    }
}

fn encode(offset: u64, hash: &blake3::Hash) -> ResumeToken {
    ResumeToken(format!("{offset}:{hash}"))
}

/// How far a receiver has come, and the hash of what it has.
pub(crate) fn decode(token: &ResumeToken) -> Result<(u64, blake3::Hash), BackendError> {
    let parts = token.0.split_once(':');
    parts
        .and_then(|(offset, hash)| Some((offset.parse().ok()?, blake3::Hash::from_hex(hash).ok()?)))
        .ok_or_else(|| BackendError::CannotResume {
            reason: format!("`{}` is no resume token of a btrfs backend", token.0),
        })
}

/// What a received subvolume must be called inside its landing.
pub(crate) fn received(landing: &Path) -> PathBuf {
    landing.join(SNAP)
}

/// The epoch under which a stream comes; carried by the receiver to its end.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    pub(crate) volume: VolumeId,
    pub(crate) to: Point,
    pub(crate) epoch: Epoch,
    pub(crate) landing: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_again_and_others_refused() {
        let hash = blake3::hash(b"some bytes");

        assert_eq!(decode(&encode(10, &hash)).unwrap(), (10, hash));
        for bad in ["", "10", "10:", "ten:00", "-1:00"] {
            assert!(decode(&ResumeToken(bad.to_owned())).is_err(), "{bad}");
        }
    }
}
