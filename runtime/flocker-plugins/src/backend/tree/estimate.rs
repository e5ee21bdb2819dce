//! How much a tree differs from its base, by lengths and times alone: nothing depends on it but a progress bar.

use std::{io, os::fd::OwnedFd};

use rustix::fs::FileType;

use super::{DEPTH_MAX, kind, look, modified, names, open_folder, too_deep};

/// What a record takes beside its data, more or less.
const RECORD: u64 = 200;

/// Roughly how many bytes it takes to make `tree` of `base`.
pub(crate) fn estimate(tree: &OwnedFd, base: Option<&OwnedFd>) -> io::Result<u64> {
    folder(tree, base, 0)
}

fn folder(tree: &OwnedFd, base: Option<&OwnedFd>, depth: usize) -> io::Result<u64> {
    if depth > DEPTH_MAX {
        return Err(too_deep());
    }
    let mut bytes = RECORD;
    for name in names(tree)? {
        let Some(stat) = look(tree, &name)? else { continue };
        let old = base.map(|base| look(base, &name)).transpose()?.flatten();
        let old = old.filter(|old| kind(old) == kind(&stat));
        if kind(&stat) == FileType::Directory {
            let here = match open_folder(tree, &name) {
                Ok(here) => here,
                // Somebody works in it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let there = match (base, old) {
                (Some(base), Some(_)) => Some(open_folder(base, &name)?),
                _ => None,
            };
            bytes += folder(&here, there.as_ref(), depth + 1)?;
            continue;
        }
        let same = |old| length(&old) == length(&stat) && modified(&old) == modified(&stat);
        if !old.is_some_and(same) {
            bytes += RECORD + length(&stat);
        }
    }
    Ok(bytes)
}

fn length(stat: &rustix::fs::Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or_default()
}
