//! What the `btrfs` command says about subvolumes, and what it does to one. Knows nothing of volumes.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    path::{Path, PathBuf},
};

use flocker_model::{ByteSize, Guid};
use flocker_ports::BackendError;

use crate::command::Btrfs;

/// A subvolume, as `btrfs subvolume show` or `list` describes it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Subvolume {
    /// Its number; grows with each subvolume of the filesystem and is never used again.
    pub(crate) id: u64,
    /// Its own identity.
    pub(crate) uuid: String,
    /// What it was made from on this filesystem.
    pub(crate) parent: Option<String>,
    /// The identity of what it was received from.
    pub(crate) received: Option<String>,
    /// The transaction that last changed it.
    pub(crate) generation: u64,
    /// The transaction that made it.
    pub(crate) generation_made: u64,
    /// Whether it is read-only; `list` does not say.
    pub(crate) read_only: bool,
    /// The bytes it refers to; `list` does not say.
    pub(crate) referenced: ByteSize,
    /// The subvolume that it lies in; `show` says it too, but nobody asks.
    pub(crate) top: u64,
    /// Its path: in a list from the subvolume that it lies in, where that is the one listed.
    pub(crate) path: String,
}

impl Subvolume {
    /// The identity that is the same on every copy: of a received snapshot, that of the one it was received from.
    pub(crate) fn guid(&self) -> Guid {
        Guid(self.received.clone().unwrap_or_else(|| self.uuid.clone()))
    }
}

impl Btrfs {
    /// One subvolume; `None` where there is none at `path`.
    pub(crate) async fn show(&self, path: &Path) -> Result<Option<Subvolume>, BackendError> {
        if !self.is_there(path)? {
            return Ok(None);
        }
        let action = format!("could not look at subvolume `{}`", path.display());
        let args: [&OsStr; 4] =
            ["subvolume".as_ref(), "show".as_ref(), "-b".as_ref(), path.as_ref()];
        let text = self.run(&action, &args).await?;
        match parse_show(&text) {
            Some(subvolume) => Ok(Some(subvolume)),
            None => Err(BackendError::Failed {
                action,
                reason: "`btrfs subvolume show` printed no UUID".to_owned(),
            }),
        }
    }

    /// Every subvolume of the filesystem that `root` is on, also those that are none of ours.
    pub(crate) async fn list(&self, root: &Path) -> Result<Vec<Subvolume>, BackendError> {
        let args: [&OsStr; 4] =
            ["subvolume".as_ref(), "list".as_ref(), "-cuqR".as_ref(), root.as_ref()];
        let text = self.run("could not list the subvolumes of the pool", &args).await?;
        Ok(text.lines().filter_map(parse_list_line).collect())
    }

    /// The bytes that each subvolume refers to, by its number. As of the last transaction.
    pub(crate) async fn referenced(
        &self,
        root: &Path,
    ) -> Result<BTreeMap<u64, ByteSize>, BackendError> {
        let args: [&OsStr; 4] =
            ["qgroup".as_ref(), "show".as_ref(), "--raw".as_ref(), root.as_ref()];
        let text = self.run("could not read the quotas of the pool", &args).await?;
        Ok(text.lines().filter_map(parse_qgroup_line).collect())
    }

    /// A read-only snapshot. Flushes `of` first and ends with a committed transaction: when this returns, the snapshot,
    /// its content and every name made before it survive a power cut. Nothing else of the pool is flushed.
    pub(crate) async fn snapshot_read_only(
        &self,
        of: &Path,
        at: &Path,
    ) -> Result<(), BackendError> {
        let action = format!("could not snapshot `{}` to `{}`", of.display(), at.display());
        let args: [&OsStr; 5] =
            ["subvolume".as_ref(), "snapshot".as_ref(), "-r".as_ref(), of.as_ref(), at.as_ref()];
        self.run(&action, &args).await.map(drop)
    }

    /// A writable snapshot; as durable as a read-only one.
    pub(crate) async fn snapshot_writable(&self, of: &Path, at: &Path) -> Result<(), BackendError> {
        let action =
            format!("could not make a writable copy of `{}` at `{}`", of.display(), at.display());
        let args: [&OsStr; 4] =
            ["subvolume".as_ref(), "snapshot".as_ref(), of.as_ref(), at.as_ref()];
        self.run(&action, &args).await.map(drop)
    }

    /// An empty subvolume.
    pub(crate) async fn create(&self, at: &Path) -> Result<(), BackendError> {
        let action = format!("could not make subvolume `{}`", at.display());
        let args: [&OsStr; 3] = ["subvolume".as_ref(), "create".as_ref(), at.as_ref()];
        self.run(&action, &args).await.map(drop)
    }

    /// Removes subvolumes, and returns when that is durable. Those that are gone already are no error.
    pub(crate) async fn delete(&self, which: &[PathBuf]) -> Result<(), BackendError> {
        self.delete_with(&["subvolume", "delete", "--commit-after"], which).await
    }

    /// Removes subvolumes that the next open would remove again if a power cut brought them back: it waits for nothing.
    pub(crate) async fn delete_rubbish(&self, which: &[PathBuf]) -> Result<(), BackendError> {
        self.delete_with(&["subvolume", "delete"], which).await
    }

    async fn delete_with(&self, how: &[&str], which: &[PathBuf]) -> Result<(), BackendError> {
        let mut present: Vec<&OsStr> = Vec::new();
        for path in which {
            if self.is_there(path)? {
                present.push(path.as_os_str());
            }
        }
        let Some(first) = present.first() else { return Ok(()) };
        let action = format!("could not remove subvolume `{}`", first.to_string_lossy());
        let args: Vec<&OsStr> =
            how.iter().map(|word| word.as_ref()).chain(present.iter().copied()).collect();
        self.run(&action, &args).await.map(drop)
    }

    /// Waits until the space of subvolumes that were removed can be used again, which else takes half a minute: for where
    /// it is needed at once. Fails in silence, since whoever needs it finds out.
    pub(crate) async fn free_deleted(&self, root: &Path) {
        for what in ["filesystem", "subvolume"] {
            let args: [&OsStr; 3] = [what.as_ref(), "sync".as_ref(), root.as_ref()];
            if let Err(error) = self.run("could not wait for removed subvolumes", &args).await {
                tracing::debug!("{error}");
            }
        }
    }

    /// Takes away, or gives back, the right to open files for writing. Commits a transaction, so it is durable.
    pub(crate) async fn set_read_only(
        &self,
        path: &Path,
        read_only: bool,
    ) -> Result<(), BackendError> {
        let value = if read_only { "true" } else { "false" };
        let action = format!("could not set `ro` of subvolume `{}` to {value}", path.display());
        let args: [&OsStr; 7] = [
            "property".as_ref(),
            "set".as_ref(),
            "-t".as_ref(),
            "subvol".as_ref(),
            path.as_ref(),
            "ro".as_ref(),
            value.as_ref(),
        ];
        self.run(&action, &args).await.map(drop)
    }

    /// Limits what may be written to a subvolume.
    pub(crate) async fn limit(&self, path: &Path, size: ByteSize) -> Result<(), BackendError> {
        let action = format!("could not limit subvolume `{}` to {size}", path.display());
        let size = size.0.to_string();
        let args: [&OsStr; 4] = ["qgroup".as_ref(), "limit".as_ref(), size.as_ref(), path.as_ref()];
        self.run(&action, &args).await.map(drop)
    }
}

/// `-` is how the command prints that there is none.
fn some_uuid(text: &str) -> Option<String> {
    (text != "-" && !text.is_empty()).then(|| text.to_owned())
}

fn parse_show(text: &str) -> Option<Subvolume> {
    let mut lines = text.lines();
    let mut found = Subvolume { path: lines.next()?.to_owned(), ..Subvolume::default() };
    for line in lines {
        let Some((key, value)) = line.trim().split_once(':') else { continue };
        let value = value.trim();
        match key {
            "UUID" => found.uuid = some_uuid(value)?,
            "Parent UUID" => found.parent = some_uuid(value),
            "Received UUID" => found.received = some_uuid(value),
            "Subvolume ID" => found.id = value.parse().ok()?,
            "Generation" => found.generation = value.parse().ok()?,
            "Gen at creation" => found.generation_made = value.parse().ok()?,
            "Flags" => found.read_only = value.split_whitespace().any(|flag| flag == "readonly"),
            "Usage referenced" => found.referenced = ByteSize(value.parse().unwrap_or(0)),
            _ => {}
        }
    }
    (!found.uuid.is_empty()).then_some(found)
}

/// `ID 256 gen 9 cgen 9 top level 5 parent_uuid - received_uuid U uuid U path some/path`
fn parse_list_line(line: &str) -> Option<Subvolume> {
    let (head, path) = line.split_once(" path ")?;
    let mut found = Subvolume { path: path.to_owned(), ..Subvolume::default() };
    let mut words = head.split_whitespace();
    while let Some(key) = words.next() {
        match key {
            "ID" => found.id = words.next()?.parse().ok()?,
            "gen" => found.generation = words.next()?.parse().ok()?,
            "level" => found.top = words.next()?.parse().ok()?,
            "cgen" => found.generation_made = words.next()?.parse().ok()?,
            "parent_uuid" => found.parent = some_uuid(words.next()?),
            "received_uuid" => found.received = some_uuid(words.next()?),
            "uuid" => found.uuid = words.next()?.to_owned(),
            _ => {}
        }
    }
    Some(found)
}

/// `0/256  4210688  16384  live/a`
fn parse_qgroup_line(line: &str) -> Option<(u64, ByteSize)> {
    let mut words = line.split_whitespace();
    let id = words.next()?.strip_prefix("0/")?.parse().ok()?;
    Some((id, ByteSize(words.next()?.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn show_is_read() {
        let text = "snapshots/v/t1/snap\n\tName: \t\t\tsnap\n\tUUID: \t\t\ta31c5ad2-0c6f-b740-b5f4-33a23d46fd62\n\
                    \tParent UUID: \t\t-\n\tReceived UUID: \t\tc7719f4b-4583-124f-8824-9d1f7708ad1a\n\
                    \tCreation time: \t\t2026-11-22 09:40:40 +0000\n\tSubvolume ID: \t\t256\n\tGeneration: \t\t9\n\
                    \tGen at creation: \t8\n\tFlags: \t\t\treadonly\n\tSnapshot(s):\n\tQuota group:\t\t0/256\n\
                    \t  Usage referenced:\t16384\n";

        let found = parse_show(text).unwrap();

        assert_eq!((found.id, found.generation, found.generation_made), (256, 9, 8));
        assert_eq!(
            (found.parent.as_deref(), found.read_only, found.referenced.0),
            (None, true, 16384)
        );
        assert_eq!(found.guid().0, "c7719f4b-4583-124f-8824-9d1f7708ad1a");
        assert_eq!(parse_show("something else\n"), None);
    }

    #[test]
    fn lists_are_read_with_blanks_in_paths() {
        let line = "ID 257 gen 21 cgen 20 top level 5 parent_uuid 08b2 received_uuid - uuid a5aa path my pool/live/v";

        let found = parse_list_line(line).unwrap();

        assert_eq!(
            (found.id, found.generation, found.generation_made, found.top),
            (257, 21, 20, 5)
        );
        assert_eq!((found.parent.as_deref(), found.received.as_deref()), (Some("08b2"), None));
        assert_eq!((found.guid().0.as_str(), found.path.as_str()), ("a5aa", "my pool/live/v"));
    }

    #[test]
    fn quotas_are_read() {
        assert_eq!(
            parse_qgroup_line("0/256    4210688   16384   a"),
            Some((256, ByteSize(4_210_688)))
        );
        assert_eq!(parse_qgroup_line("Qgroupid    Referenced    Exclusive   Path"), None);
        assert_eq!(parse_qgroup_line("1/5    4210688   16384   a"), None);
    }
}
