//! A storage backend in a granted directory: volumes are folders, snapshots are copies of them. Nothing to set up, and
//! the example for authors of others.
//!
//! ```text
//! /pool/volumes/ID/about.json     what this copy is; replaced whole, and the only thing that counts
//! /pool/volumes/ID/live-N/        the owner's files
//! /pool/volumes/ID/snapshot-N/    one folder for each snapshot
//! /pool/volumes/ID/received-N/    what the host has received, whether it counts yet or not
//! ```
//!
//! `N` is the number of the change that made the folder. A crash leaves folders that `about.json` does not name; a later
//! change of that volume removes them.
//!
//! What it does not have, and does not declare: quotas, and snapshots of a moment. A folder that is written to while it
//! is copied gives a mixture; a move copies again after its seal, and that copy is exact.

mod disk;

use flocker_sdk::backend::{
    Access, Answer, Capacity, Document, Driver, Made, Mode, Named, New, Owner, Stored, failure,
};

/// The name of the directory that it needs.
const DIRECTORY: &str = "pool";
const VOLUMES: &str = "volumes";
const ABOUT: &str = "about.json";

/// Volumes in folders.
#[derive(Debug, Default)]
pub struct DirBackend;

flocker_sdk::export_backend!(DirBackend);

fn folder(volume: &str) -> String {
    format!("{VOLUMES}/{volume}")
}

fn path(volume: &str, disk: &str) -> String {
    format!("{VOLUMES}/{volume}/{disk}")
}

/// Where a new folder goes. What an earlier attempt left there is half of something, or of another moment.
fn cleared(new: &New<'_>) -> Answer<String> {
    let path = path(new.volume, &new.name());
    disk::remove(&path)?;
    Ok(path)
}

fn made(new: &New<'_>, bytes: Option<u64>) -> Made {
    Made { disk: new.name(), guid: disk::fresh_guid(), made_ms: disk::now_ms(), bytes }
}

fn copied(new: &New<'_>, from: &str) -> Answer<Made> {
    let bytes = disk::copy(&path(new.volume, from), &cleared(new)?)?;
    Ok(made(new, Some(bytes)))
}

fn document(volume: &str) -> Answer<Option<Document>> {
    let path = path(volume, ABOUT);
    let damaged = |reason| {
        failure(format!("`{path}` is damaged: {reason}; its folders were left as they are"))
    };
    let found = disk::read(&path)?;
    found.map(|json| Document::from_json(&json).map_err(damaged)).transpose()
}

impl Driver for DirBackend {
    const NAME: &'static str = "dir";
    const NEEDS: &'static [(&'static str, &'static str)] = &[("directory", DIRECTORY)];

    /// The host keeps the order of changes, and no other node sees the directory.
    type Revision = ();

    fn pool(&self) -> String {
        format!("/{DIRECTORY}")
    }

    fn capacity(&self) -> Answer<Capacity> {
        let (total_bytes, free_bytes) = disk::space()?;
        Ok(Capacity { total_bytes, free_bytes })
    }

    fn documents(&self, after: Option<&str>, limit: u32) -> Answer<Vec<Named>> {
        let mut names = disk::list(VOLUMES)?;
        names.retain(|name| after.is_none_or(|after| name.as_str() > after));
        let named = |volume: String| {
            let document = document(&volume).transpose()?;
            Some(Named { volume, document })
        };
        Ok(names.into_iter().filter_map(named).take(limit as usize).collect())
    }

    fn read(&self, volume: &str) -> Answer<Option<Stored<()>>> {
        Ok(document(volume)?.map(|document| Stored { revision: (), document }))
    }

    fn replace(&self, volume: &str, _seen: Option<()>, document: &Document) -> Answer<()> {
        disk::replace(&folder(volume), ABOUT, &document.to_json()?)
    }

    fn remove(&self, volume: &str, _seen: Stored<()>) -> Answer<()> {
        disk::remove(&folder(volume))
    }

    /// Files whose `about.json` was lost belonged to somebody: they are not reused for a new volume.
    fn prepare(&self, volume: &str) -> Answer<()> {
        disk::ensure_folder("", VOLUMES)?;
        disk::ensure_folder(VOLUMES, volume)?;
        for found in self.disks(volume)? {
            if !disk::is_empty_folder(&path(volume, &found))? {
                return Err(failure(format!(
                    "`{}` holds files, but no {ABOUT}\nhint: move it away to make the volume anew",
                    folder(volume)
                )));
            }
        }
        Ok(())
    }

    /// Whatever is beside the document.
    fn disks(&self, volume: &str) -> Answer<Vec<String>> {
        let mut found = disk::list(&folder(volume))?;
        found.retain(|name| !name.starts_with(ABOUT));
        Ok(found)
    }

    fn blank(&self, new: &New<'_>, _size: u64, owner: Option<Owner>) -> Answer<Made> {
        disk::make(&cleared(new)?, owner)?;
        Ok(made(new, None))
    }

    fn receive(&self, new: &New<'_>, _size: u64) -> Answer<Made> {
        cleared(new)?;
        Ok(made(new, None))
    }

    fn snapshot(&self, new: &New<'_>, live: &str) -> Answer<Made> {
        copied(new, live)
    }

    fn restore(&self, new: &New<'_>, snapshot: &str) -> Answer<Made> {
        copied(new, snapshot)
    }

    /// A folder has no size of its own.
    fn resize(&self, _volume: &str, _disk: &str, _size: u64) -> Answer<()> {
        Ok(())
    }

    fn discard(&self, volume: &str, disk: &str) -> Answer<()> {
        disk::remove(&path(volume, disk))
    }

    fn attach(&self, volume: &str, disk: &str, _mode: Mode) -> Answer<Access> {
        Ok(Access::Directory(disk::host(&path(volume, disk))))
    }
}
