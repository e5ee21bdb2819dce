//! The verbs: disks first, then the document, then the disks that it no longer names go.

use crate::{
    Answer,
    array::{self, Content, Stored},
    bindings::exports::flocker::plugin::storage_backend::{Op, Point, SnapshotInfo, VolumeInfo},
    coded,
    copy::{Copy, Kept, Role},
    failure,
};

/// Registered in wit/codes.md.
const CODE_STALE: u32 = 10;

/// Names become URLs, so they are checked although the host did.
fn read(name: &str) -> Answer<Option<Stored>> {
    let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > 64 || !name.chars().all(fine) {
        return Err(failure("this is no name of a volume"));
    }
    array::volume(name)
}

pub(crate) fn find(name: &str) -> Answer<Option<Copy>> {
    let found = read(name)?.map(|stored| stored.document);
    Ok(found.filter(|copy| copy.role != Role::Gone))
}

pub(crate) fn need(name: &str) -> Answer<Copy> {
    find(name)?.ok_or_else(|| failure(format!("there is no volume `{name}`")))
}

/// A copy that is being changed. The array refuses what comes after somebody else's change.
struct Change<'a> {
    name: &'a str,
    revision: u64,
    copy: Copy,
}

impl<'a> Change<'a> {
    fn of(op: &Op, name: &'a str) -> Answer<Self> {
        let found = read(name)?.filter(|stored| stored.document.role != Role::Gone);
        let found = found.ok_or_else(|| failure(format!("there is no volume `{name}`")))?;
        refuse_stale(op, &found.document)?;
        Ok(Self { name, revision: found.revision, copy: found.document })
    }

    /// The point of no return.
    fn decide(&mut self) -> Answer<()> {
        self.revision = array::put(self.name, self.revision, &self.copy)?;
        Ok(())
    }

    /// Removes the disks that the document does not name: what an earlier attempt made, or this change put aside.
    fn sweep(&self) -> Answer<()> {
        for disk in array::disks(self.name)? {
            if !self.copy.names(&disk) {
                array::discard(&disk)?;
            }
        }
        Ok(())
    }

    fn remove(self) -> Answer<()> {
        for disk in array::disks(self.name)? {
            array::discard(&disk)?;
        }
        array::remove(self.name, self.revision, self.copy.epoch)
    }
}

fn refuse_stale(op: &Op, copy: &Copy) -> Answer<()> {
    if op.epoch < copy.epoch {
        let (there, asked) = (copy.epoch, op.epoch);
        return Err(coded(CODE_STALE, format!("it is at epoch {there}, asked for was {asked}")));
    }
    Ok(())
}

/// What makes a disk of an operation the same when it is asked for again.
fn key(op: &Op, what: &str) -> String {
    format!("{}/{}/{what}", op.id, op.epoch)
}

pub(crate) fn volumes(after: Option<&str>, limit: u32) -> Answer<Vec<VolumeInfo>> {
    let mut found: Vec<VolumeInfo> = Vec::new();
    let mut last = after.map(str::to_owned);
    // A page of those that are being removed is none to the host.
    loop {
        let page = array::volumes(last.as_deref(), limit)?;
        let is_last = page.len() < limit as usize;
        last = page.last().map(|named| named.name.clone());
        let there = page.iter().filter(|named| named.document.role != Role::Gone);
        found.extend(there.map(|named| named.document.info(&named.name)));
        if is_last || found.len() >= limit as usize {
            found.truncate(limit as usize);
            return Ok(found);
        }
    }
}

pub(crate) fn create(op: &Op, name: &str, size: u64) -> Answer<bool> {
    let found = read(name)?;
    if let Some(copy) = found.as_ref().map(|it| &it.document).filter(|it| it.role != Role::Gone) {
        refuse_stale(op, copy)?;
        return match copy.role {
            Role::Live if copy.epoch == op.epoch => Ok(false),
            _ => Err(failure(format!("volume `{name}` is there already"))),
        };
    }
    if let Some(Stored { revision, document }) = found {
        Change { name, revision, copy: document }.remove()?;
    }
    let mut change = Change { name, revision: 0, copy: Copy::new(Role::Live, op.epoch, size) };
    change.copy.live = Some(array::make(name, &key(op, "create"), &Content::Size(size))?.id);
    change.decide()?;
    Ok(true)
}

pub(crate) fn resize(op: &Op, name: &str, size: u64) -> Answer<bool> {
    let mut change = Change::of(op, name)?;
    if change.copy.size == size {
        return Ok(false);
    }
    if let Some(live) = &change.copy.live {
        array::resize(live, size)?;
    }
    change.copy.size = size;
    change.decide()?;
    Ok(true)
}

pub(crate) fn destroy(op: &Op, name: &str) -> Answer<bool> {
    let Some(Stored { revision, document }) = read(name)? else { return Ok(false) };
    let mut change = Change { name, revision, copy: document };
    let there = change.copy.role != Role::Gone;
    if there {
        refuse_stale(op, &change.copy)?;
        change.copy.role = Role::Gone;
        change.decide()?;
    }
    change.remove()?;
    Ok(there)
}

pub(crate) fn snapshot(op: &Op, names: &[String], tag: &str) -> Answer<Vec<SnapshotInfo>> {
    let mut group = Vec::new();
    for name in names {
        group.push(Change::of(op, name)?);
    }
    // All disks first: if one fails, none counts.
    for change in &mut group {
        let (name, copy) = (change.name, &mut change.copy);
        if copy.snapshots.iter().any(|kept| kept.tag == tag) {
            continue;
        }
        let live = copy.live.as_ref().ok_or_else(|| failure("a replica takes no snapshots"))?;
        let made = array::make(name, &key(op, &format!("snapshot/{tag}")), &Content::From(live))?;
        copy.snapshots.push(Kept {
            tag: tag.to_owned(),
            guid: made.id.clone(),
            disk: made.id,
            taken_ms: made.created_ms,
            bytes: copy.size,
            sealed: copy.role == Role::Sealed,
        });
    }
    let mut taken = Vec::new();
    for change in &mut group {
        change.decide()?;
        let kept = change.copy.snapshots.iter().find(|kept| kept.tag == tag);
        taken.extend(kept.map(Kept::info));
    }
    Ok(taken)
}

pub(crate) fn destroy_snapshots(op: &Op, name: &str, which: &[Point]) -> Answer<bool> {
    let mut change = Change::of(op, name)?;
    let before = change.copy.snapshots.len();
    let is_doomed = |kept: &Kept| which.iter().any(|at| at.tag == kept.tag && at.guid == kept.guid);
    change.copy.snapshots.retain(|kept| !is_doomed(kept));
    let changed = change.copy.snapshots.len() < before;
    if changed {
        change.decide()?;
    }
    change.sweep()?;
    Ok(changed)
}

pub(crate) fn attach(op: &Op, name: &str) -> Answer<String> {
    let change = Change::of(op, name)?;
    match (change.copy.role, &change.copy.live) {
        (Role::Live, Some(live)) => array::attach(live, false),
        _ => Err(failure("it is not live")),
    }
}

pub(crate) fn seal(op: &Op, name: &str) -> Answer<bool> {
    let mut change = Change::of(op, name)?;
    let copy = &mut change.copy;
    if copy.role == Role::Sealed && copy.epoch == op.epoch {
        return Ok(false);
    }
    copy.role = Role::Sealed;
    copy.epoch = op.epoch;
    copy.snapshots.iter_mut().for_each(|kept| kept.sealed = false);
    change.decide()?;
    Ok(true)
}

pub(crate) fn unseal(op: &Op, name: &str) -> Answer<bool> {
    let mut change = Change::of(op, name)?;
    if change.copy.role == Role::Live {
        return Ok(false);
    }
    change.copy.role = Role::Live;
    change.decide()?;
    Ok(true)
}

pub(crate) fn promote(op: &Op, name: &str, at: &Point) -> Answer<bool> {
    let mut change = Change::of(op, name)?;
    if change.copy.role == Role::Live && change.copy.epoch == op.epoch {
        return Ok(false);
    }
    let kept = change.copy.kept(at)?;
    if change.copy.role == Role::Sealed {
        kept.refuse_unless_sealed()?;
    }
    let live = array::make(name, &key(op, "promote"), &Content::From(&kept.disk))?.id;
    // What was received has the size of the snapshot's disk, what was announced may be more.
    array::resize(&live, change.copy.size)?;
    change.copy.role = Role::Live;
    change.copy.epoch = op.epoch;
    change.copy.live = Some(live);
    change.copy.incoming = None;
    change.decide()?;
    change.sweep()?;
    Ok(true)
}

pub(crate) fn retire(op: &Op, name: &str, at: &Point) -> Answer<bool> {
    let mut change = Change::of(op, name)?;
    if change.copy.role == Role::Replica {
        return Ok(false);
    }
    change.copy.kept(at)?.refuse_unless_sealed()?;
    change.copy.role = Role::Replica;
    change.copy.epoch = op.epoch;
    // Its device may still be open here: the host lets go after this, and the next change sweeps.
    change.copy.live = None;
    change.decide()?;
    Ok(true)
}

pub(crate) fn plan_send(
    name: &str,
    base: Option<&Point>,
    to: &Point,
) -> Answer<(String, Option<String>)> {
    let copy = need(name)?;
    let device = |at: &Point| array::attach(&copy.kept(at)?.disk, true);
    Ok((device(to)?, base.map(device).transpose()?))
}

pub(crate) fn plan_receive(
    op: &Op,
    name: &str,
    base: Option<&Point>,
    to: &Point,
    size: u64,
) -> Answer<(String, Option<String>)> {
    let mut change = match read(name)? {
        Some(Stored { revision, document }) if document.role != Role::Gone => {
            refuse_stale(op, &document)?;
            Change { name, revision, copy: document }
        }
        found => {
            if let Some(Stored { revision, document }) = found {
                Change { name, revision, copy: document }.remove()?;
            }
            Change { name, revision: 0, copy: Copy::new(Role::Replica, op.epoch, size) }
        }
    };
    let base = match base {
        Some(base) => Some(array::attach(&change.copy.kept(base)?.disk, true)?),
        None => None,
    };
    let disk = array::make(name, &key(op, &format!("receive/{}", to.guid)), &Content::Size(size))?;
    let device = array::attach(&disk.id, false)?;
    change.copy.epoch = op.epoch;
    change.copy.size = size;
    change.copy.incoming = Some((disk.id, disk.created_ms));
    change.decide()?;
    change.sweep()?;
    Ok((device, base))
}

pub(crate) fn finish_receive(op: &Op, name: &str, to: &Point, bytes: u64) -> Answer<SnapshotInfo> {
    let mut change = Change::of(op, name)?;
    if let Ok(kept) = change.copy.kept(to) {
        return Ok(kept.info());
    }
    let incoming = change.copy.incoming.take();
    let (disk, taken_ms) = incoming.ok_or_else(|| failure("there is nothing that was received"))?;
    let (tag, guid) = (to.tag.clone(), to.guid.clone());
    let kept = Kept { tag, guid, disk, taken_ms, bytes, sealed: false };
    let info = kept.info();
    change.copy.snapshots.push(kept);
    change.decide()?;
    Ok(info)
}

pub(crate) fn abort_receive(op: &Op, name: &str) -> Answer<bool> {
    // One that is being removed is not to be found either: then that is finished.
    if find(name)?.is_none() {
        return destroy(op, name);
    }
    let mut change = Change::of(op, name)?;
    if change.copy.role != Role::Replica {
        return Ok(false);
    }
    if change.copy.snapshots.is_empty() {
        return destroy(op, name);
    }
    let aborted = change.copy.incoming.take().is_some();
    if aborted {
        change.decide()?;
    }
    change.sweep()?;
    Ok(aborted)
}
