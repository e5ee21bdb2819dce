//! A storage backend: volumes and their snapshots are folders of the granted directory `pool`, and what they are stands in
//! the store that the host keeps for this plugin. It has all that a node asks for; put your own storage in the place of
//! the folders, call by call.

use flocker_sdk::backend::{
    Access, Answer, BUSY, Capacity, Document, Driver, Made, Mode, Named, New, Owner, Stored, coded,
    failure, kv, trees,
};
use wasip2::{clocks::wall_clock, random::random::get_random_u64};

const POOL: &str = "/pool";
/// Keys that are asked for at once.
const PAGE: u32 = 500;

#[derive(Debug, Default)]
pub struct {{type}};

flocker_sdk::export_backend!({{type}});

/// A folder's place. Its name says whose it is and what made it, and no other folder gets it.
fn path(disk: &str) -> String {
    format!("{POOL}/{disk}")
}

fn document_key(volume: &str) -> String {
    format!("document/{volume}")
}

fn disk_key(volume: &str, disk: &str) -> String {
    format!("disk/{volume}/{disk}")
}

/// Puts a value in the place of the one that was seen.
fn swap(key: &str, seen: Option<&[u8]>, value: Option<&[u8]>) -> Answer<()> {
    if kv::swap(key, seen, value)? {
        return Ok(());
    }
    Err(coded(
        BUSY,
        format!("`{key}` was changed by somebody else meanwhile"),
    ))
}

fn parse(volume: &str, json: &[u8]) -> Answer<Document> {
    Document::from_json(json)
        .map_err(|why| failure(format!("the document of `{volume}` is damaged: {why}")))
}

/// A new disk, which is written down before it is made: so it can be found and removed, whatever happens.
fn named(new: &New<'_>) -> Answer<Made> {
    let guid = format!("{:016x}{:016x}", get_random_u64(), get_random_u64());
    let disk = format!("{}-{}-{guid}", new.volume, new.name());
    swap(&disk_key(new.volume, &disk), None, Some(&[]))?;
    let now = wall_clock::now();
    let made_ms = now.seconds * 1000 + u64::from(now.nanoseconds / 1_000_000);
    Ok(Made {
        disk,
        guid,
        made_ms,
        bytes: None,
    })
}

fn copied(new: &New<'_>, from: &str) -> Answer<Made> {
    let made = named(new)?;
    let bytes = trees::copy(&path(from), &path(&made.disk))?;
    Ok(Made {
        bytes: Some(bytes),
        ..made
    })
}

impl Driver for {{type}} {
    const NAME: &'static str = "{{name}}";
    const NEEDS: &'static [(&'static str, &'static str)] = &[("directory", "pool")];

    /// A document as it was read.
    type Revision = Vec<u8>;

    fn pool(&self) -> String {
        POOL.to_owned()
    }

    fn capacity(&self) -> Answer<Capacity> {
        let (total_bytes, free_bytes) = trees::space(POOL)?;
        Ok(Capacity {
            total_bytes,
            free_bytes,
        })
    }

    fn documents(&self, after: Option<&str>, limit: u32) -> Answer<Vec<Named>> {
        let (prefix, after) = (document_key(""), after.map(document_key));
        let mut found = Vec::new();
        for key in kv::keys(&prefix, after.as_deref(), limit)? {
            let volume = key[prefix.len()..].to_owned();
            let document = match kv::get(&key)? {
                Some(json) => parse(&volume, &json),
                None => Err(failure(format!("`{volume}` was removed meanwhile"))),
            };
            found.push(Named { volume, document });
        }
        Ok(found)
    }

    fn read(&self, volume: &str) -> Answer<Option<Stored<Vec<u8>>>> {
        let Some(revision) = kv::get(&document_key(volume))? else {
            return Ok(None);
        };
        let document = parse(volume, &revision)?;
        Ok(Some(Stored { revision, document }))
    }

    fn replace(&self, volume: &str, seen: Option<Vec<u8>>, document: &Document) -> Answer<Vec<u8>> {
        let json = document.to_json()?;
        swap(&document_key(volume), seen.as_deref(), Some(&json))?;
        Ok(json)
    }

    fn remove(&self, volume: &str, seen: Stored<Vec<u8>>) -> Answer<()> {
        swap(&document_key(volume), Some(&seen.revision), None)
    }

    fn disks(&self, volume: &str) -> Answer<Vec<String>> {
        let prefix = disk_key(volume, "");
        let mut keys: Vec<String> = Vec::new();
        loop {
            let page = kv::keys(&prefix, keys.last().map(String::as_str), PAGE)?;
            let is_last = page.len() < PAGE as usize;
            keys.extend(page);
            if is_last {
                let disk = |key: String| key[prefix.len()..].to_owned();
                return Ok(keys.into_iter().map(disk).collect());
            }
        }
    }

    fn blank(&self, new: &New<'_>, _size: u64, owner: Option<Owner>) -> Answer<Made> {
        let made = named(new)?;
        let owner = owner.map(|Owner { user, group }| trees::Owner { user, group });
        trees::make(&path(&made.disk), owner)?;
        Ok(made)
    }

    /// The host makes the folder.
    fn receive(&self, new: &New<'_>, _size: u64) -> Answer<Made> {
        named(new)
    }

    fn snapshot(&self, new: &New<'_>, live: &str) -> Answer<Made> {
        copied(new, live)
    }

    fn restore(&self, new: &New<'_>, snapshot: &str) -> Answer<Made> {
        copied(new, snapshot)
    }

    /// A folder has no size of its own; storage that has one names `quota` in `FEATURES`.
    fn resize(&self, _volume: &str, _disk: &str, _size: u64) -> Answer<()> {
        Ok(())
    }

    fn discard(&self, volume: &str, disk: &str) -> Answer<()> {
        trees::remove(&path(disk))?;
        kv::swap(&disk_key(volume, disk), Some(&[]), None).map(drop)
    }

    fn attach(&self, _volume: &str, disk: &str, _mode: Mode) -> Answer<Access> {
        Ok(Access::Directory(path(disk)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_and_documents_are_kept_apart() {
        assert!(!disk_key("data", "data-live-1").starts_with(&document_key("")));
        assert!(!disk_key("data-2", "x").starts_with(&disk_key("data", "")));
    }
}
