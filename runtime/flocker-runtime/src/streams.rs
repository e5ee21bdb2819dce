//! Who may send volumes to this node and receive them from it: the key that it keeps, and those that the cluster's records
//! have of the others.

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, bail};
use flocker_engine::follower::Followed;
use flocker_model::{NodeName, StreamKey};
use flocker_replication::{Announced, KeyPair, StreamKeys, Transport};

use crate::{
    config::{Config, Streams},
    identity::write_secretly,
};

/// The node's own key, which is drawn at its first start. None where streams cross in the clear.
pub(crate) fn own_key(config: &Config) -> anyhow::Result<Option<KeyPair>> {
    match config.streams {
        Streams::Tls => read_or_draw(&file(&config.state_dir)).map(Some),
        Streams::Clear => Ok(None),
    }
}

/// How streams cross between this node and those in the records.
pub(crate) fn transport(own: Option<KeyPair>, followed: Followed) -> anyhow::Result<Transport> {
    match own {
        Some(own) => Ok(Transport::tls(&own, Arc::new(Records(followed)))?),
        None => Ok(Transport::clear()),
    }
}

fn file(state_dir: &Path) -> PathBuf {
    state_dir.join("stream-key")
}

fn read_or_draw(path: &Path) -> anyhow::Result<KeyPair> {
    let name = path.display();
    let kept = match fs::read(path) {
        Ok(kept) => kept,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let drawn = KeyPair::draw()?;
            write_secretly(path, &drawn).with_context(|| format!("could not write `{name}`"))?;
            drawn
        }
        Err(error) => return Err(error).with_context(|| format!("could not read `{name}`")),
    };
    let rights = fs::metadata(path).with_context(|| format!("could not read `{name}`"))?;
    if rights.permissions().mode() & 0o077 != 0 {
        bail!(
            "others than this node may read its key `{name}`\nhint: remove the file; the node draws a new key and announces it"
        );
    }
    KeyPair::read(&kept).with_context(|| {
        format!(
            "`{name}` does not hold this node's key for streams\nhint: remove the file; the node draws a new key and announces it"
        )
    })
}

/// What nodes announced. As long as the records were not read, there are no nodes.
#[derive(Debug)]
struct Records(Followed);

impl StreamKeys for Records {
    fn announced(&self, node: &NodeName) -> Announced {
        let state = self.0.borrow();
        match state.as_ref().and_then(|state| state.nodes.get(node)) {
            Some(known) => known.value.stream_key.map_or(Announced::NoKey, Announced::Key),
            None => Announced::NoNode,
        }
    }

    fn is_known(&self, key: &StreamKey) -> bool {
        let state = self.0.borrow();
        let mut nodes = state.iter().flat_map(|state| state.nodes.values());
        nodes.any(|known| known.value.stream_key.as_ref() == Some(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_drawn_once_and_nobody_else_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(folder.path());

        let drawn = read_or_draw(&path).unwrap().public();

        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read_or_draw(&path).unwrap().public(), drawn);
    }

    #[test]
    fn a_key_that_is_damaged_or_open_to_others_is_refused_and_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(folder.path());
        let good = KeyPair::draw().unwrap();
        for (content, mode, why) in [
            (b"".as_slice(), 0o600, "does not hold this node's key"),
            (&good[..40], 0o600, "does not hold this node's key"),
            (&good, 0o640, "others than this node may read"),
        ] {
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();

            let (words, hints) = crate::last_words(&read_or_draw(&path).unwrap_err());

            assert!(words.contains(why) && words.contains("stream-key"), "{words}");
            assert!(!hints.is_empty(), "{words}");
            assert_eq!(fs::read(&path).unwrap(), content);
        }
    }
}
