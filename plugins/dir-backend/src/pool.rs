//! The verbs: folders first, then `about.json`, then the rest is swept away.

use crate::{
    Answer,
    about::{About, Kept, Role},
    bindings::{
        exports::flocker::plugin::storage_backend::{Op, Owner, Point, SnapshotInfo, VolumeInfo},
        flocker::plugin::{
            log::{self, Level},
            trees,
        },
    },
    disk, failure,
};

const VOLUMES: &str = "volumes";
const ABOUT: &str = "about.json";
const SNAPSHOTS: &str = "snapshots";
const INCOMING: &str = "incoming";

/// The folder of a volume. Names become paths, so they are checked although the host did.
fn folder(name: &str) -> Answer<String> {
    let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > 64 || !name.chars().all(fine) {
        return Err(failure("this is no name of a volume"));
    }
    Ok(format!("{VOLUMES}/{name}"))
}

fn snapshot_folder(folder: &str, guid: &str) -> Answer<String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if guid.is_empty() || guid.len() > 64 || !guid.chars().all(fine) {
        return Err(failure("this GUID cannot be the name of a folder"));
    }
    Ok(format!("{folder}/{SNAPSHOTS}/{guid}"))
}

/// What a copy is, the ones that are being removed included.
fn read(name: &str) -> Answer<Option<About>> {
    let bytes = disk::read(&format!("{}/{ABOUT}", folder(name)?))?;
    bytes.map(|bytes| About::decode(name, &bytes)).transpose()
}

pub(crate) fn find(name: &str) -> Answer<Option<About>> {
    Ok(read(name)?.filter(|about| about.role != Role::Gone))
}

pub(crate) fn need(name: &str) -> Answer<About> {
    find(name)?.ok_or_else(|| failure(format!("there is no volume `{name}`")))
}

/// As [`need`], for a change.
fn change(op: &Op, name: &str) -> Answer<(About, String)> {
    let about = need(name)?;
    about.refuse_stale(op)?;
    Ok((about, folder(name)?))
}

/// The point of no return of every change.
fn decide(folder: &str, about: &About) -> Answer<()> {
    disk::replace(folder, ABOUT, &about.encode()?)
}

/// Removes the folders that nothing names. `incoming` stays: the host may be filling it.
fn sweep(folder: &str, about: &About) -> Answer<()> {
    for name in disk::list(folder)? {
        if name.starts_with("live-") && about.live.as_ref() != Some(&name) {
            disk::remove(&format!("{folder}/{name}"))?;
        }
    }
    for guid in disk::list(&format!("{folder}/{SNAPSHOTS}"))? {
        if !about.snapshots.iter().any(|kept| kept.guid == guid) {
            disk::remove(&format!("{folder}/{SNAPSHOTS}/{guid}"))?;
        }
    }
    Ok(())
}

/// Every volume that can be read. A damaged one is left out here and is an error in `stat`: it must not make the others
/// unknown.
pub(crate) fn volumes(after: Option<&str>, limit: u32) -> Answer<Vec<VolumeInfo>> {
    let mut found = Vec::new();
    for name in disk::list(VOLUMES)? {
        if found.len() >= limit as usize {
            break;
        }
        if after.is_some_and(|after| name.as_str() <= after) || folder(&name).is_err() {
            continue;
        }
        match find(&name) {
            Ok(about) => found.extend(about.map(|about| about.info(&name))),
            Err(failure) => log::write(Level::Error, &failure.message, &[]),
        }
    }
    Ok(found)
}

pub(crate) fn create(op: &Op, name: &str, size: u64, owner: Option<Owner>) -> Answer<bool> {
    if let Some(about) = find(name)? {
        about.refuse_stale(op)?;
        return match about.role {
            Role::Live if about.epoch == op.epoch => Ok(false),
            _ => Err(failure(format!("volume `{name}` is there already"))),
        };
    }
    let here = folder(name)?;
    if read(name)?.is_some() {
        remove(&here)?;
    }
    disk::ensure_folder("", VOLUMES)?;
    disk::ensure_folder(VOLUMES, name)?;
    refuse_remains(name, &here)?;
    disk::ensure_folder(&here, SNAPSHOTS)?;
    let live = format!("live-{}", op.epoch);
    disk::remove(&format!("{here}/{live}"))?;
    let owner = owner.map(|Owner { user, group }| trees::Owner { user, group });
    disk::make(&format!("{here}/{live}"), owner)?;
    let mut about = About::new(Role::Live, op.epoch, size);
    about.live = Some(live);
    decide(&here, &about)?;
    Ok(true)
}

/// Files whose `about.json` was lost belonged to somebody: they are not reused for a new volume. What a crash leaves of
/// an earlier attempt is empty.
fn refuse_remains(name: &str, here: &str) -> Answer<()> {
    let mut full = !disk::list(&format!("{here}/{SNAPSHOTS}"))?.is_empty();
    for found in disk::list(here)?.iter().filter(|found| found.starts_with("live-")) {
        full |= !disk::list(&format!("{here}/{found}"))?.is_empty();
    }
    if full {
        return Err(failure(format!(
            "`{VOLUMES}/{name}` holds files, but no {ABOUT}; move it away to make the volume anew"
        )));
    }
    Ok(())
}

pub(crate) fn resize(op: &Op, name: &str, size: u64) -> Answer<bool> {
    let (mut about, here) = change(op, name)?;
    if about.size == size {
        return Ok(false);
    }
    about.size = size;
    decide(&here, &about)?;
    Ok(true)
}

pub(crate) fn destroy(op: &Op, name: &str) -> Answer<bool> {
    let Some(mut about) = read(name)? else { return Ok(false) };
    let here = folder(name)?;
    let there = about.role != Role::Gone;
    if there {
        about.refuse_stale(op)?;
        about.role = Role::Gone;
        decide(&here, &about)?;
    }
    remove(&here)?;
    Ok(there)
}

/// The file that says so goes last.
fn remove(here: &str) -> Answer<()> {
    for name in disk::list(here)?.iter().filter(|name| name.as_str() != ABOUT) {
        disk::remove(&format!("{here}/{name}"))?;
    }
    disk::remove(here).map(|_| ())
}

pub(crate) fn snapshot(op: &Op, names: &[String], tag: &str) -> Answer<Vec<SnapshotInfo>> {
    let mut group = Vec::new();
    for name in names {
        let (about, here) = change(op, name)?;
        group.push((about, here));
    }
    // All copies first: if one fails, none counts.
    for (about, here) in &mut group {
        if about.snapshots.iter().any(|kept| kept.tag == tag) {
            continue;
        }
        let sealed = about.role == Role::Sealed;
        let live = about.live.as_ref().ok_or_else(|| failure("a replica takes no snapshots"))?;
        sweep(here, about)?;
        let guid = disk::fresh_guid();
        let taken_ms = disk::now_ms();
        let bytes = disk::copy(&format!("{here}/{live}"), &snapshot_folder(here, &guid)?)?;
        about.snapshots.push(Kept { tag: tag.to_owned(), guid, taken_ms, bytes, sealed });
    }
    let mut taken = Vec::new();
    for (about, here) in &group {
        decide(here, about)?;
        let kept = about.snapshots.iter().find(|kept| kept.tag == tag);
        taken.extend(kept.map(Kept::info));
    }
    Ok(taken)
}

pub(crate) fn destroy_snapshots(op: &Op, name: &str, which: &[Point]) -> Answer<bool> {
    let (mut about, here) = change(op, name)?;
    let before = about.snapshots.len();
    let is_doomed = |kept: &Kept| which.iter().any(|at| at.tag == kept.tag && at.guid == kept.guid);
    about.snapshots.retain(|kept| !is_doomed(kept));
    let changed = about.snapshots.len() < before;
    if changed {
        decide(&here, &about)?;
    }
    sweep(&here, &about)?;
    Ok(changed)
}

pub(crate) fn attach(op: &Op, name: &str) -> Answer<String> {
    let (about, here) = change(op, name)?;
    match (about.role, about.live) {
        (Role::Live, Some(live)) => Ok(disk::host(&format!("{here}/{live}"))),
        _ => Err(failure("it is not live")),
    }
}

pub(crate) fn seal(op: &Op, name: &str) -> Answer<bool> {
    let (mut about, here) = change(op, name)?;
    if about.role == Role::Sealed && about.epoch == op.epoch {
        return Ok(false);
    }
    about.role = Role::Sealed;
    about.epoch = op.epoch;
    for kept in &mut about.snapshots {
        kept.sealed = false;
    }
    decide(&here, &about)?;
    Ok(true)
}

pub(crate) fn unseal(op: &Op, name: &str) -> Answer<bool> {
    let (mut about, here) = change(op, name)?;
    if about.role == Role::Live {
        return Ok(false);
    }
    about.role = Role::Live;
    decide(&here, &about)?;
    Ok(true)
}

pub(crate) fn promote(op: &Op, name: &str, at: &Point) -> Answer<bool> {
    let (mut about, here) = change(op, name)?;
    if about.role == Role::Live && about.epoch == op.epoch {
        return Ok(false);
    }
    let kept = about.kept(at)?;
    if about.role == Role::Sealed {
        kept.refuse_unless_sealed()?;
    }
    let source = snapshot_folder(&here, &kept.guid)?;
    sweep(&here, &about)?;
    let live = format!("live-{}", op.epoch);
    if about.live.as_ref() == Some(&live) {
        return Err(failure("it was live at this epoch already"));
    }
    disk::copy(&source, &format!("{here}/{live}"))?;
    about.role = Role::Live;
    about.epoch = op.epoch;
    about.live = Some(live);
    decide(&here, &about)?;
    disk::remove(&format!("{here}/{INCOMING}"))?;
    sweep(&here, &about)?;
    Ok(true)
}

pub(crate) fn retire(op: &Op, name: &str, at: &Point) -> Answer<bool> {
    let (mut about, here) = change(op, name)?;
    if about.role == Role::Replica {
        return Ok(false);
    }
    about.kept(at)?.refuse_unless_sealed()?;
    about.role = Role::Replica;
    about.epoch = op.epoch;
    about.live = None;
    decide(&here, &about)?;
    sweep(&here, &about)?;
    Ok(true)
}

pub(crate) fn plan_send(
    name: &str,
    base: Option<&Point>,
    to: &Point,
) -> Answer<(String, Option<String>)> {
    let (about, here) = (need(name)?, folder(name)?);
    let path = |at: &Point| Ok(disk::host(&snapshot_folder(&here, &about.kept(at)?.guid)?));
    Ok((path(to)?, base.map(path).transpose()?))
}

pub(crate) fn plan_receive(
    op: &Op,
    name: &str,
    base: Option<&Point>,
    to: &Point,
    size: u64,
) -> Answer<(String, Option<String>)> {
    let here = folder(name)?;
    let mut about = match find(name)? {
        Some(about) => about,
        None => {
            if read(name)?.is_some() {
                remove(&here)?;
            }
            disk::ensure_folder("", VOLUMES)?;
            disk::ensure_folder(VOLUMES, name)?;
            refuse_remains(name, &here)?;
            disk::ensure_folder(&here, SNAPSHOTS)?;
            About::new(Role::Replica, op.epoch, size)
        }
    };
    about.refuse_stale(op)?;
    snapshot_folder(&here, &to.guid)?;
    let base = match base {
        Some(base) => Some(disk::host(&snapshot_folder(&here, &about.kept(base)?.guid)?)),
        None => None,
    };
    about.epoch = op.epoch;
    about.size = size;
    decide(&here, &about)?;
    sweep(&here, &about)?;
    disk::remove(&format!("{here}/{INCOMING}"))?;
    Ok((disk::host(&format!("{here}/{INCOMING}")), base))
}

pub(crate) fn finish_receive(op: &Op, name: &str, to: &Point, bytes: u64) -> Answer<SnapshotInfo> {
    let (mut about, here) = change(op, name)?;
    if let Ok(kept) = about.kept(to) {
        return Ok(kept.info());
    }
    let (incoming, place) = (format!("{here}/{INCOMING}"), snapshot_folder(&here, &to.guid)?);
    // A crash may have come between the rename and the word.
    if disk::is_folder(&incoming)? {
        disk::remove(&place)?;
        disk::rename(&incoming, &place)?;
        disk::sync_folder(&format!("{here}/{SNAPSHOTS}"))?;
        disk::sync_folder(&here)?;
    } else if !disk::is_folder(&place)? {
        return Err(failure("there is nothing that was received"));
    }
    let (tag, guid) = (to.tag.clone(), to.guid.clone());
    let kept = Kept { tag, guid, taken_ms: disk::now_ms(), bytes, sealed: false };
    let info = kept.info();
    about.snapshots.push(kept);
    decide(&here, &about)?;
    Ok(info)
}

pub(crate) fn abort_receive(op: &Op, name: &str) -> Answer<bool> {
    // One that is being removed is not to be found either: then that is finished.
    let Some(about) = find(name)? else { return destroy(op, name) };
    about.refuse_stale(op)?;
    if about.role != Role::Replica {
        return Ok(false);
    }
    let here = folder(name)?;
    let aborted = disk::remove(&format!("{here}/{INCOMING}"))?;
    if about.snapshots.is_empty() {
        return destroy(op, name);
    }
    Ok(aborted)
}
