//! The granted directories, opened once. A plugin's path leads below one of them or nowhere: the kernel refuses links
//! and `..` while it follows the path, so nothing can be swapped in between.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::fs::{self, Mode, OFlags};

use super::tree::{handle, inside};
use crate::chatter::tame;

/// Directories by the names that the plugin knows.
#[derive(Debug)]
pub(crate) struct Folders(BTreeMap<String, (PathBuf, OwnedFd)>);

/// A place in a granted directory: the open folder that holds it, and its name there.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) parent: OwnedFd,
    pub(crate) leaf: OsString,
}

impl Folders {
    /// Opens them.
    ///
    /// # Errors
    /// The path that cannot be opened, and why.
    pub(crate) fn open(granted: &BTreeMap<String, PathBuf>) -> Result<Self, (PathBuf, io::Error)> {
        let mut folders = BTreeMap::new();
        for (name, path) in granted {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let opened = fs::open(path, flags, Mode::empty())
                .map_err(|error| (path.clone(), error.into()))?;
            folders.insert(name.clone(), (path.clone(), opened));
        }
        Ok(Self(folders))
    }

    /// No directory at all.
    pub(crate) fn none() -> Self {
        Self(BTreeMap::new())
    }

    /// All that was written to their filesystems is on the disk.
    pub(crate) fn flush(&self) -> io::Result<()> {
        self.0.values().try_for_each(|(_, folder)| Ok(fs::syncfs(folder)?))
    }

    /// Where a directory by the plugin's name is on this machine.
    pub(crate) fn for_people(&self, path: &str) -> Option<String> {
        let (path, _) = self.0.get(path.strip_prefix('/')?)?;
        Some(path.display().to_string())
    }

    /// What a plugin sees: names, and paths to the same open directories that the host works in. What is mounted over
    /// one of them later is another directory.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, PathBuf)> {
        self.0.iter().map(|(name, (_, folder))| (name.as_str(), handle(folder)))
    }

    /// Opens a folder.
    pub(crate) fn folder(&self, path: &str) -> io::Result<OwnedFd> {
        let (root, rest) = self.split(path)?;
        inside(root, rest)
    }

    /// Opens the folder around a path, which need not exist itself. A granted directory itself is no such path.
    pub(crate) fn place(&self, path: &str) -> io::Result<Place> {
        let (root, rest) = self.split(path)?;
        let leaf = rest.file_name().ok_or_else(|| {
            let path = tame(path, 200);
            refused(format!("`{path}` is a granted directory itself"))
        })?;
        let parent = inside(root, rest.parent().unwrap_or(Path::new("")))?;
        Ok(Place { parent, leaf: leaf.to_owned() })
    }

    fn split<'a>(&self, path: &'a str) -> io::Result<(&OwnedFd, &'a Path)> {
        let outside = || refused(format!("`{}` is in no granted directory", tame(path, 200)));
        let (name, rest) = match path.strip_prefix('/').map(|p| p.split_once('/')) {
            Some(Some(parts)) => parts,
            Some(None) => (&path[1..], ""),
            None => return Err(outside()),
        };
        // The kernel refuses these as well; a plugin that tries hears of it in words.
        let steps_out = |part: &str| matches!(part, "" | "." | "..");
        if !rest.is_empty() && rest.split('/').any(steps_out) {
            return Err(outside());
        }
        let (_, root) = self.0.get(name).ok_or_else(outside)?;
        Ok((root, Path::new(OsStr::new(rest))))
    }
}

fn refused(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_leads_out() {
        let folder = tempfile::tempdir().unwrap();
        let pool = folder.path().join("pool");
        std::fs::create_dir_all(pool.join("a/b")).unwrap();
        std::fs::create_dir(folder.path().join("secret")).unwrap();
        std::os::unix::fs::symlink("../secret", pool.join("link")).unwrap();
        std::os::unix::fs::symlink("/", pool.join("a/root")).unwrap();
        let folders = Folders::open(&[("pool".to_owned(), pool)].into()).unwrap();

        assert!(folders.folder("/pool").is_ok());
        assert!(folders.folder("/pool/a/b").is_ok());
        assert_eq!(folders.place("/pool/a/new").unwrap().leaf, "new");
        for path in [
            "",
            "/",
            "pool/a",
            "/poo",
            "/other/a",
            "/pool/..",
            "/pool/../secret",
            "/pool/a/../../secret",
            "/pool//a",
            "/pool/./a",
            "/pool/link",
            "/pool/link/x",
            "/pool/a/root",
            "/pool/a/root/etc",
            "/etc",
        ] {
            assert!(folders.folder(path).is_err(), "{path}");
        }
        for path in ["/pool", "/pool/", "/pool/link/x", "/pool/a/root/etc", "/etc/x"] {
            assert!(folders.place(path).is_err(), "{path}");
        }
    }
}
