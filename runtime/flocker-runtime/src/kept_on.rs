//! On what storage this node keeps its volumes, remembered beside its identity: a start with another one would come up
//! without them.
//!
//! It is a file and not a record of the cluster's: it is about what is on this machine, goes where the state directory
//! goes, and an operator who knows better removes it.

use std::{
    fmt, fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use flocker_model::{NodeName, VolumeName};
use flocker_ports::Backend as _;
use flocker_zfs::PoolFile;
use serde::{Deserialize, Serialize};

use crate::{
    config::{Config, Pool},
    identity::write_durably,
    storage::{Storage, parent_in},
};

/// Volumes that are named to an operator.
const NAMED_MAX: usize = 3;

/// A storage, as far as it must stay the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeptOn {
    /// "btrfs", "zfs", or what a plugin calls itself.
    driver: String,
    /// Where. What is in the state directory is named from there: that may be moved as a whole.
    pool: String,
}

impl fmt::Display for KeptOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` at `{}`", self.driver, self.pool)
    }
}

impl KeptOn {
    /// What the configuration says. Nothing of it is touched.
    pub(crate) fn of(config: &Config, storage: &Storage) -> anyhow::Result<Self> {
        let state_dir = std::path::absolute(&config.state_dir)?;
        let place = |kind: &str, path: &Path| -> anyhow::Result<Self> {
            let path = std::path::absolute(path)?;
            let path = path.strip_prefix(&state_dir).unwrap_or(&path);
            Ok(Self { driver: "btrfs".to_owned(), pool: format!("{kind}:{}", path.display()) })
        };
        match (&config.pool, storage.plugin()) {
            (Pool::Btrfs(folder), _) => place("btrfs", folder),
            (Pool::File(path), _) => place("file", path),
            (Pool::Zfs(parent), _) => Ok(Self { driver: "zfs".to_owned(), pool: parent.clone() }),
            (Pool::ZfsFile(path), _) => {
                let pool = parent_in(&PoolFile::pool(path));
                Ok(Self { driver: "zfs".to_owned(), pool })
            }
            (Pool::Plugin(_), Some(plugin)) => {
                let about = plugin.describe();
                Ok(Self { driver: about.driver, pool: about.pool })
            }
            (Pool::Plugin(plugin), None) => bail!("`{}` is not open", plugin.path.display()),
        }
    }

    /// What the node was started with before, if it ever was.
    pub(crate) fn before(state_dir: &Path) -> anyhow::Result<Option<Self>> {
        let path = file(state_dir);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(error).with_context(|| format!("could not read `{}`", path.display()));
            }
        };
        let before = serde_json::from_slice(&text).with_context(|| {
            format!(
                "`{}` does not say on what storage this node keeps its volumes\nhint: if that is the storage that it is started with now, remove the file",
                path.display()
            )
        })?;
        Ok(Some(before))
    }

    /// Remembers it for the next start.
    pub(crate) fn remember(&self, state_dir: &Path) -> anyhow::Result<()> {
        if Self::before(state_dir)?.as_ref() == Some(self) {
            return Ok(());
        }
        let path = file(state_dir);
        let text = serde_json::to_string(self)?;
        write_durably(&path, &text).with_context(|| format!("could not write `{}`", path.display()))
    }

    /// Refuses to start on this storage where the node's volumes are on the one before.
    pub(crate) fn check(
        &self,
        before: &Self,
        node: &NodeName,
        volumes: &[VolumeName],
        state_dir: &Path,
    ) -> anyhow::Result<()> {
        if self == before || volumes.is_empty() {
            return Ok(());
        }
        let mut named: Vec<_> =
            volumes.iter().take(NAMED_MAX).map(|volume| format!("`{volume}`")).collect();
        if volumes.len() > NAMED_MAX {
            named.push(format!("and {} more", volumes.len() - NAMED_MAX));
        }
        bail!(
            "node `{node}` keeps {} on {before}, and was started with {self}\nhint: start it with the storage that it had; to give it another one, drain it, remove it with `flocker node rm {node}`, and let it join anew with another `--state-dir`\nhint: if the same volumes are there, because it was moved or renamed, remove `{}`",
            named.join(", "),
            file(state_dir).display()
        );
    }
}

fn file(state_dir: &Path) -> PathBuf {
    state_dir.join("kept-on.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept_on(driver: &str, pool: &str) -> KeptOn {
        KeptOn { driver: driver.to_owned(), pool: pool.to_owned() }
    }

    #[test]
    fn another_storage_is_refused_while_the_node_has_volumes_and_no_longer() {
        let (btrfs, dir) = (kept_on("btrfs", "file:pool.btrfs"), kept_on("dir", "/srv/pool"));
        let moved = kept_on("btrfs", "btrfs:/srv/data");
        let node = "n1".parse().unwrap();
        let names = ["a", "b", "c", "d", "e"].map(|name| name.parse::<VolumeName>().unwrap());
        let check = |present: &KeptOn, volumes: &[VolumeName]| {
            present.check(&btrfs, &node, volumes, Path::new("/state"))
        };

        for other in [&dir, &moved] {
            let (said, hints) = crate::last_words(&check(other, &names).unwrap_err());
            for word in
                ["`n1`", "`a`, `b`, `c`, and 2 more", &btrfs.to_string(), &other.to_string()]
            {
                assert!(said.contains(word), "`{word}` is not in: {said}");
            }
            assert!(hints.join("\n").contains("`/state/kept-on.json`"), "{hints:?}");
            check(other, &[]).unwrap();
        }
        check(&btrfs, &names).unwrap();
    }

    #[test]
    fn what_is_remembered_is_found_again_and_damage_is_told() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(KeptOn::before(folder.path()).unwrap(), None);
        for storage in [kept_on("btrfs", "file:pool.btrfs"), kept_on("dir", "/srv/pool")] {
            storage.remember(folder.path()).unwrap();
            storage.remember(folder.path()).unwrap();
            assert_eq!(KeptOn::before(folder.path()).unwrap(), Some(storage));
        }

        fs::write(folder.path().join("kept-on.json"), "btrfs").unwrap();

        let (said, hints) = crate::last_words(&KeptOn::before(folder.path()).unwrap_err());
        assert!(said.contains("kept-on.json") && !hints.is_empty(), "{said}");
    }
}
