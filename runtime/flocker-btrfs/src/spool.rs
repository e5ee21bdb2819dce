//! What arrived of an unfinished stream, since `btrfs receive` itself cannot be continued: the skeleton of the stream, and
//! the subvolumes that attempts left, which hold the rest.
//!
//! Nothing here is flushed: what a power cut tore is left out by its checksum, and if what is left is not what the sender
//! has, its hash is another one and the stream is sent from its beginning.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use flocker_model::{Epoch, Point, VolumeId};
use flocker_ports::{BackendError, ResumeToken};
use serde::{Deserialize, Serialize};

use crate::{
    backend::Node,
    layout::SNAP,
    settle::list,
    sidecar::{self, gone_is_fine},
    skeleton::{Kept, Next},
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
        Self { version: 2, base, to: to.guid.0.clone(), tag: to.tag.to_string() }
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

    pub(crate) fn skeleton(&self) -> PathBuf {
        self.folder.join("skeleton")
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
        let mut left = Vec::new();
        for name in list(&self.folder)? {
            if name.to_string_lossy().starts_with(LANDING) {
                // Until it is complete, a received subvolume may go by any name that the stream says.
                let landing = self.folder.join(name);
                left.extend(list(&landing)?.into_iter().map(|name| landing.join(name)));
            }
        }
        Ok(left)
    }

    /// What attempts received, the latest first.
    fn received(&self) -> io::Result<Vec<PathBuf>> {
        let names = list(&self.folder)?.into_iter().rev();
        let landings = names.filter(|name| name.to_string_lossy().starts_with(LANDING));
        Ok(landings
            .map(|name| received(&self.folder.join(name)))
            .filter(|at| at.is_dir())
            .collect())
    }

    /// Makes the folder ready for `about`, and says what of it is here; a stream of which more than `max` bytes are here,
    /// or another one, is thrown away.
    pub(crate) fn prepare(&self, about: &About, max: u64) -> io::Result<Held> {
        fs::create_dir_all(&self.folder)?;
        if self.read_about().as_ref() != Some(about) {
            gone_is_fine(fs::remove_file(self.skeleton()))?;
            // Not flushed either: bytes under a wrong description have a wrong hash.
            fs::write(self.about(), serde_json::to_vec(about)?)?;
        }
        let all = self.received()?;
        let found = match Kept::open(&self.skeleton(), &all) {
            Ok(kept) => Held::of(kept)?.filter(|held| held.bytes <= max),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let Some(held) = found else {
            gone_is_fine(fs::remove_file(self.skeleton()))?;
            return Ok(Held { of_no_use: self.left()?, ..Held::default() });
        };
        File::options().write(true).open(self.skeleton())?.set_len(held.place)?;
        Ok(held)
    }

    /// The folder of a fresh attempt.
    pub(crate) fn land(&self, landing: &Path) -> io::Result<()> {
        self.remove_landings()?;
        fs::create_dir(landing)
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
        gone_is_fine(fs::remove_file(self.skeleton()))?;
        gone_is_fine(fs::remove_file(self.about()))?;
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
        // Whoever still keeps bytes of it is about to end.
        let _quiet = self.entry(volume).slot.quiet().await;
        let spool = self.spool(volume);
        self.files("could not remove an unfinished receive", &folder, move |_| spool.remove()).await
    }

    /// After a restart: what belongs to no volume, to a snapshot that is here, or to who knows what, is of no use any more.
    pub(crate) async fn tidy_incoming(&self, volume: &VolumeId) -> Result<(), BackendError> {
        let orphaned = matches!(sidecar::read(self.layout(), volume), Ok(None));
        let points = self.points(volume).await?;
        let here = |about: &About| points.iter().any(|(point, _)| point.guid.0 == about.to);
        let of_use = self.spool(volume).read_about().is_some_and(|about| !here(&about));
        if orphaned || !of_use { self.discard_incoming(volume).await } else { Ok(()) }
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

/// What of a stream is here already.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// How long the skeleton is, as far as all of it could be made a stream again.
    place: u64,
    /// How many bytes of the stream that are.
    bytes: u64,
    /// What a sender has to know; `None` where there is nothing.
    pub(crate) token: Option<ResumeToken>,
    /// What the stream is made again of.
    pub(crate) kept: Option<Kept>,
    /// Subvolumes of earlier attempts that hold nothing of it that a later one does not.
    pub(crate) of_no_use: Vec<PathBuf>,
}

impl Held {
    fn of(kept: Kept) -> io::Result<Option<Self>> {
        let again = kept.again()?;
        let (mut hasher, mut rest) = (blake3::Hasher::new(), kept);
        loop {
            match rest.next()? {
                Next::More(bytes, kept) => {
                    hasher.update(&bytes);
                    rest = kept;
                }
                Next::End(kept) => {
                    let bytes = hasher.count();
                    let token = Some(encode(bytes, &hasher.finalize()));
                    let (place, of_no_use) = (kept.place, kept.unused());
                    let held = Self { place, bytes, token, kept: Some(again), of_no_use };
                    return Ok((bytes > 0).then_some(held));
                }
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
