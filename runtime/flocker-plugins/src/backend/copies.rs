//! Work on whole trees: what a backend asks for, and what a received stream makes. A call that was given up ends its work; whoever asks for the same place
//! again waits for that end.

use std::{
    collections::HashMap,
    ffi::OsString,
    io,
    os::fd::OwnedFd,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use rustix::fs::{self, Gid, Mode, RenameFlags, Uid};

use super::{
    bindings::flocker::plugin::types::Failure,
    folders::{Folders, Place},
    state::failure,
    tree::{self, Builder, Source},
};

/// `failure.code` of a pool without room.
pub(crate) const CODE_FULL: u32 = 12;

/// Which places are being worked on.
#[derive(Debug, Default)]
pub(crate) struct Copies(Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>);

/// Set when nobody waits for the work any more.
struct GivenUp(Arc<AtomicBool>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Copies {
    pub(crate) async fn make(
        &self,
        folders: &Arc<Folders>,
        path: String,
        owner: Option<(u32, u32)>,
    ) -> Result<(), Failure> {
        self.asked(folders, path, move |folders, path, _| {
            let place = folders.place(path)?;
            fs::mkdirat(&place.parent, &place.leaf, Mode::from_raw_mode(0o755))?;
            if let Some((user, group)) = owner {
                let made = tree::open_folder(&place.parent, &place.leaf)?;
                fs::fchown(&made, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))?;
                fs::fsync(&made)?;
            }
            Ok(fs::fsync(&place.parent)?)
        })
        .await
    }

    pub(crate) async fn copy(
        &self,
        folders: &Arc<Folders>,
        path: String,
        to: String,
    ) -> Result<u64, Failure> {
        self.asked(folders, to, move |folders, to, given_up| {
            let source = folders.folder(&path)?;
            build(&folders.place(to)?, |builder| {
                copy_into(builder, (source, Source::InUse), given_up)
            })
        })
        .await
    }

    pub(crate) async fn remove(
        &self,
        folders: &Arc<Folders>,
        path: String,
    ) -> Result<bool, Failure> {
        self.asked(folders, path, |folders, path, _| {
            let place = folders.place(path)?;
            let removed = tree::remove(&place.parent, &place.leaf)?;
            fs::fsync(&place.parent)?;
            Ok(removed)
        })
        .await
    }

    pub(crate) async fn space(
        &self,
        folders: &Arc<Folders>,
        path: String,
    ) -> Result<(u64, u64), Failure> {
        self.asked(folders, path, |folders, path, _| {
            let space = fs::fstatvfs(folders.folder(path)?)?;
            Ok((space.f_blocks * space.f_frsize, space.f_bavail * space.f_frsize))
        })
        .await
    }

    /// As [`Copies::work`], for a plugin, which is told the place as well.
    async fn asked<T: Send + 'static>(
        &self,
        folders: &Arc<Folders>,
        path: String,
        what: impl FnOnce(&Folders, &str, &AtomicBool) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Failure> {
        let shown = path.clone();
        self.work(folders, path, what).await.map_err(|error| Failure {
            code: if is_full(&error) { CODE_FULL } else { 0 },
            ..failure(format!("`{shown}`: {error}"))
        })
    }

    /// Does it away from the threads that serve everybody, and never twice at one place.
    pub(crate) async fn work<T: Send + 'static, E: From<io::Error> + Send + 'static>(
        &self,
        folders: &Arc<Folders>,
        path: String,
        what: impl FnOnce(&Folders, &str, &AtomicBool) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let turn = self.turn(&path).lock_owned().await;
        let flag = Arc::new(AtomicBool::new(false));
        let _given_up = GivenUp(Arc::clone(&flag));
        let folders = Arc::clone(folders);
        let done = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            what(&folders, &path, &flag)
        });
        done.await.unwrap_or_else(|error| Err(io::Error::other(error).into()))
    }

    fn turn(&self, path: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        places.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(places.entry(path.to_owned()).or_default())
    }
}

/// Whether the disk had no room.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Copies a tree into an empty one. Answers the bytes in its files.
pub(crate) fn copy_into(
    builder: &mut Builder,
    (folder, source): (OwnedFd, Source),
    given_up: &AtomicBool,
) -> io::Result<u64> {
    tree::walk(folder, None, source, &mut |record| {
        refuse_given_up(given_up)?;
        builder.apply(&record)
    })
}

/// Ends work that nobody waits for any more.
pub(crate) fn refuse_given_up(given_up: &AtomicBool) -> io::Result<()> {
    if given_up.load(Ordering::Relaxed) {
        return Err(io::Error::other("nobody waits for it any more"));
    }
    Ok(())
}

/// Makes a folder whole, durably, or not at all. What is at the place already is an error.
pub(crate) fn build<T, E: From<io::Error>>(
    place: &Place,
    fill: impl FnOnce(&mut Builder) -> Result<T, E>,
) -> Result<T, E> {
    let mut staging = place.leaf.clone();
    staging.push(".new");
    if tree::look(&place.parent, &place.leaf)?.is_some() {
        return Err(io::Error::from(io::ErrorKind::AlreadyExists).into());
    }
    // Of an attempt that a crash ended.
    tree::remove(&place.parent, &staging)?;
    let built = fill_and_place(place, &staging, fill);
    if built.is_err() {
        // The first error is the one that counts; what is left is removed by the next attempt.
        let _ = tree::remove(&place.parent, &staging);
    }
    built
}

fn fill_and_place<T, E: From<io::Error>>(
    place: &Place,
    staging: &OsString,
    fill: impl FnOnce(&mut Builder) -> Result<T, E>,
) -> Result<T, E> {
    let parent = &place.parent;
    fs::mkdirat(parent, staging, Mode::from_raw_mode(0o700)).map_err(io::Error::from)?;
    let mut builder = Builder::new(tree::open_folder(parent, staging)?);
    let filled = fill(&mut builder)?;
    builder.flush()?;
    fs::renameat_with(parent, staging, parent, &place.leaf, RenameFlags::NOREPLACE)
        .map_err(io::Error::from)?;
    fs::fsync(parent).map_err(io::Error::from)?;
    Ok(filled)
}
