//! Who this installation is: drawn once, kept beside the volumes. Two machines with one name are told apart by it.

use std::{
    fs::{self, File, TryLockError},
    io::{ErrorKind, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
};

use anyhow::{Context as _, bail};

/// The state directory, ours alone for as long as this is kept.
#[derive(Debug)]
pub(crate) struct StateDir {
    _lock: File,
    pub(crate) identity: String,
}

/// Makes the state directory where it is missing, locks it, and reads or draws the identity in it.
pub(crate) fn open(path: &Path) -> anyhow::Result<StateDir> {
    let context = || {
        format!(
            "could not use the state directory `{}`\nhint: `--state-dir` names another one",
            path.display()
        )
    };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).with_context(context)?;
    let lock = File::create(path.join("lock")).with_context(context)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => bail!(
            "the state directory `{}` is in use by another flocker-runtime\nhint: give each its own with `--state-dir`",
            path.display()
        ),
        Err(TryLockError::Error(e)) => return Err(e).with_context(context),
    }
    let identity = read_or_draw(&path.join("identity")).with_context(context)?;
    Ok(StateDir { _lock: lock, identity })
}

fn read_or_draw(path: &Path) -> anyhow::Result<String> {
    match fs::read(path) {
        Ok(text) => return checked(path, &text),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        // One that is there and cannot be read must not be replaced: the cluster knows this node by it.
        Err(error) => {
            return Err(error).with_context(|| format!("could not read `{}`", path.display()));
        }
    }
    let identity = uuid::Uuid::new_v4().to_string();
    write_durably(path, &identity)?;
    Ok(identity)
}

/// Writes a line to a file, which afterwards holds that or what it held before, whatever happens.
pub(crate) fn write_durably(path: &Path, line: &str) -> std::io::Result<()> {
    replace(path, format!("{line}\n").as_bytes(), 0o644)
}

/// The same for what nobody but the node may read.
pub(crate) fn write_secretly(path: &Path, content: &[u8]) -> std::io::Result<()> {
    replace(path, content, 0o600)
}

fn replace(path: &Path, content: &[u8], mode: u32) -> std::io::Result<()> {
    let beside = path.with_extension("new");
    // What an earlier attempt left may have other rights.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = File::options().write(true).create_new(true).mode(mode).open(&beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn checked(path: &Path, text: &[u8]) -> anyhow::Result<String> {
    let text = String::from_utf8_lossy(text).trim().to_owned();
    if uuid::Uuid::parse_str(&text).is_err() {
        bail!(
            "`{}` does not hold an identity\nhint: it is a UUID on one line; restore it, or remove the file if this node never joined a cluster",
            path.display()
        );
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_that_cannot_be_read_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity");
        for damaged in [b"\xff\xfe".as_slice(), b"", b"no uuid"] {
            fs::write(&path, damaged).unwrap();

            assert!(open(folder.path()).is_err(), "{damaged:?}");

            assert_eq!(fs::read(&path).unwrap(), damaged);
        }
    }

    #[test]
    fn a_second_daemon_in_the_same_place_is_refused_and_the_identity_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let first = open(&path).unwrap();
        let identity = first.identity.clone();

        let refused = open(&path).unwrap_err();

        assert!(refused.to_string().contains("in use by another"), "{refused}");
        drop(first);
        assert_eq!(open(&path).unwrap().identity, identity);
    }
}
