//! What each call of the contract means: disks are made, then the document is replaced, then what it no longer names is
//! discarded. A verb only says what the document becomes; [`Change`] knows the order.

use super::{
    Access, Answer, Driver, Made, Mode, Named, New, Owner, Purpose, Stored,
    document::{Document, Incoming, Kept, Role},
    failure,
};
use crate::{
    bindings::backend::exports::flocker::plugin::storage_backend::{
        Op, Point, SnapshotInfo, VolumeInfo,
    },
    log,
};

/// Names become paths and URLs, so they are checked although the host did.
fn is_name(name: &str) -> bool {
    let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !name.is_empty() && name.len() <= 64 && name.chars().all(fine)
}

/// What there is of a volume, one that is being removed included.
fn read<D: Driver>(driver: &D, name: &str) -> Answer<Option<Stored<D::Revision>>> {
    if !is_name(name) {
        return Err(failure("this is no name of a volume"));
    }
    driver.read(name)
}

pub(super) fn find<D: Driver>(driver: &D, name: &str) -> Answer<Option<Document>> {
    let found = read(driver, name)?.map(|stored| stored.document);
    Ok(found.filter(|document| !document.is_gone()))
}

pub(super) fn need<D: Driver>(driver: &D, name: &str) -> Answer<Document> {
    find(driver, name)?.ok_or_else(|| no_volume(name))
}

fn no_volume(name: &str) -> super::Failure {
    failure(format!("there is no volume `{name}`"))
}

/// A document that is being changed.
struct Change<'a, D: Driver> {
    driver: &'a D,
    name: &'a str,
    op: &'a Op,
    /// None where there is no document.
    seen: Option<Stored<D::Revision>>,
    /// What it becomes.
    document: Document,
}

impl<'a, D: Driver> Change<'a, D> {
    fn of(driver: &'a D, op: &'a Op, name: &'a str) -> Answer<Self> {
        let found = read(driver, name)?.filter(|stored| !stored.document.is_gone());
        let change = Self::from(driver, op, name, found.ok_or_else(|| no_volume(name))?);
        change.document.refuse_stale(op)?;
        Ok(change)
    }

    fn from(driver: &'a D, op: &'a Op, name: &'a str, seen: Stored<D::Revision>) -> Self {
        let document = seen.document.clone();
        Self { driver, name, op, seen: Some(seen), document }
    }

    /// The first document of a volume.
    fn first(driver: &'a D, op: &'a Op, name: &'a str, role: Role, size: u64) -> Answer<Self> {
        finish_removal(driver, op, name)?;
        driver.prepare(name)?;
        let document = Document::new(role, op.epoch, size);
        Ok(Self { driver, name, op, seen: None, document })
    }

    fn new_disk(&self, purpose: Purpose) -> New<'a> {
        let (change, op) = (self.document.changes + 1, self.op);
        New { volume: self.name, purpose, op: &op.id, epoch: op.epoch, change }
    }

    fn is_changed(&self) -> bool {
        self.seen.as_ref().is_none_or(|seen| seen.document != self.document)
    }

    /// The point of no return, if there is anything to change. Answers whether there was.
    fn decide(&mut self) -> Answer<bool> {
        let changed = self.is_changed();
        if changed {
            self.replace()?;
        }
        Ok(changed)
    }

    fn replace(&mut self) -> Answer<()> {
        self.document.changes += 1;
        let seen = self.seen.take().map(|seen| seen.revision);
        let revision = self.driver.replace(self.name, seen, &self.document)?;
        self.seen = Some(Stored { revision, document: self.document.clone() });
        Ok(())
    }

    /// As [`Change::decide`], and then discards what nothing names: what this change put aside, or an attempt that failed
    /// has left.
    ///
    /// The disks are listed before, and the document is replaced even if only to discard: where several nodes share the
    /// storage, nobody else can then decide to name one of them, and those that they make later are not on the list.
    fn decide_and_discard(mut self) -> Answer<bool> {
        let mut idle = self.driver.disks(self.name)?;
        idle.retain(|disk| self.document.disks().all(|named| named != disk));
        let changed = self.is_changed();
        if changed || !idle.is_empty() {
            self.replace()?;
        }
        idle.iter().try_for_each(|disk| self.driver.discard(self.name, disk))?;
        Ok(changed)
    }

    /// Removes the volume, whose disks were listed before the document was read: that is how it says what is only its.
    fn remove(mut self, listed: Vec<String>) -> Answer<()> {
        if !self.document.is_gone() || self.seen.is_none() {
            self.document.role = Role::Gone;
            self.replace()?;
        }
        let named = self.document.disks().filter(|named| !listed.iter().any(|it| it == named));
        for disk in listed.iter().map(String::as_str).chain(named) {
            self.driver.discard(self.name, disk)?;
        }
        self.seen.map_or(Ok(()), |seen| self.driver.remove(self.name, seen))
    }
}

/// Goes on with a removal that was cut short, if there was one.
fn finish_removal<D: Driver>(driver: &D, op: &Op, name: &str) -> Answer<()> {
    let listed = driver.disks(name)?;
    match read(driver, name)? {
        Some(stored) if stored.document.is_gone() => {
            Change::from(driver, op, name, stored).remove(listed)
        }
        _ => Ok(()),
    }
}

/// Every volume that can be read. A damaged one is left out here and is an error in `stat`: it must not make the others
/// unknown. A page of those that are being removed is none to the host.
pub(super) fn volumes<D: Driver>(
    driver: &D,
    after: Option<&str>,
    limit: u32,
) -> Answer<Vec<VolumeInfo>> {
    let (mut found, mut last) = (Vec::new(), after.map(str::to_owned));
    loop {
        let page = driver.documents(last.as_deref(), limit)?;
        let is_last = page.len() < limit as usize;
        last = page.last().map(|named| named.volume.clone()).or(last);
        for Named { volume, document } in page {
            match document {
                Ok(document) if document.is_gone() || !is_name(&volume) => {}
                Ok(document) => found.push(document.info(&volume)),
                Err(failure) => log::error(&failure.message),
            }
        }
        if is_last || found.len() >= limit as usize {
            found.truncate(limit as usize);
            return Ok(found);
        }
    }
}

pub(super) fn create<D: Driver>(
    driver: &D,
    op: &Op,
    name: &str,
    size: u64,
    owner: Option<Owner>,
) -> Answer<bool> {
    if let Some(document) = find(driver, name)? {
        document.refuse_stale(op)?;
        return match document.role {
            Role::Live if document.epoch == op.epoch => Ok(false),
            _ => Err(failure(format!("volume `{name}` is there already"))),
        };
    }
    let mut change = Change::first(driver, op, name, Role::Live, size)?;
    let made = driver.blank(&change.new_disk(Purpose::Live), size, owner)?;
    change.document.live = Some(made.disk);
    change.decide_and_discard()
}

pub(super) fn resize<D: Driver>(driver: &D, op: &Op, name: &str, size: u64) -> Answer<bool> {
    let mut change = Change::of(driver, op, name)?;
    if change.document.size == size {
        return Ok(false);
    }
    if let Some(live) = &change.document.live {
        driver.resize(name, live, size)?;
    }
    change.document.size = size;
    change.decide()
}

pub(super) fn destroy<D: Driver>(driver: &D, op: &Op, name: &str) -> Answer<bool> {
    if !is_name(name) {
        return Err(failure("this is no name of a volume"));
    }
    let listed = driver.disks(name)?;
    let Some(stored) = read(driver, name)? else {
        // Of a volume that was never whole. A document keeps others from making it meanwhile.
        if !listed.is_empty() {
            Change::first(driver, op, name, Role::Gone, 0)?.remove(listed)?;
        }
        return Ok(false);
    };
    let there = !stored.document.is_gone();
    if there {
        stored.document.refuse_stale(op)?;
    }
    Change::from(driver, op, name, stored).remove(listed)?;
    Ok(there)
}

pub(super) fn snapshot<D: Driver>(
    driver: &D,
    op: &Op,
    names: &[String],
    tag: &str,
) -> Answer<Vec<SnapshotInfo>> {
    let mut group: Vec<Change<D>> = Vec::new();
    for name in names {
        if !group.iter().any(|change| change.name == name) {
            group.push(Change::of(driver, op, name)?);
        }
    }
    // All disks first: if one fails, none counts.
    group.iter_mut().try_for_each(|change| take(change, tag))?;
    for change in &mut group {
        change.decide()?;
    }
    let taken = |name: &String| {
        let change = group.iter().find(|change| change.name == name)?;
        Some(change.document.tagged(tag)?.info())
    };
    let taken = names.iter().filter_map(taken).collect();
    group.into_iter().try_for_each(|change| change.decide_and_discard().map(drop))?;
    Ok(taken)
}

/// A snapshot that is there by its tag is not taken again.
fn take<D: Driver>(change: &mut Change<D>, tag: &str) -> Answer<()> {
    if change.document.tagged(tag).is_some() {
        return Ok(());
    }
    let live = change.document.live.as_ref();
    let live = live.ok_or_else(|| failure("a replica takes no snapshots"))?;
    let Made { disk, guid, made_ms, bytes } =
        change.driver.snapshot(&change.new_disk(Purpose::Snapshot), live)?;
    let document = &mut change.document;
    document.snapshots.push(Kept {
        tag: tag.to_owned(),
        guid,
        disk,
        taken_ms: made_ms,
        size: document.size,
        bytes: bytes.unwrap_or(document.size),
        sealed: document.role == Role::Sealed,
    });
    Ok(())
}

pub(super) fn destroy_snapshots<D: Driver>(
    driver: &D,
    op: &Op,
    name: &str,
    which: &[Point],
) -> Answer<bool> {
    let mut change = Change::of(driver, op, name)?;
    change.document.snapshots.retain(|kept| !which.iter().any(|at| kept.is(at)));
    change.decide_and_discard()
}

pub(super) fn attach<D: Driver>(driver: &D, op: &Op, name: &str) -> Answer<Access> {
    let Document { role, live, .. } = Change::of(driver, op, name)?.document;
    match (role, live) {
        (Role::Live, Some(live)) => driver.attach(name, &live, Mode::Write),
        _ => Err(failure("it is not live")),
    }
}

pub(super) fn seal<D: Driver>(driver: &D, op: &Op, name: &str) -> Answer<bool> {
    let mut change = Change::of(driver, op, name)?;
    let document = &mut change.document;
    match document.role {
        Role::Sealed if document.epoch == op.epoch => return Ok(false),
        Role::Live | Role::Sealed => {}
        Role::Replica | Role::Gone => return Err(failure("it is not live")),
    }
    document.role = Role::Sealed;
    document.epoch = op.epoch;
    document.snapshots.iter_mut().for_each(|kept| kept.sealed = false);
    change.decide()
}

pub(super) fn unseal<D: Driver>(driver: &D, op: &Op, name: &str) -> Answer<bool> {
    let mut change = Change::of(driver, op, name)?;
    match change.document.role {
        Role::Live => return Ok(false),
        Role::Sealed => {}
        Role::Replica | Role::Gone => return Err(failure("it is not sealed")),
    }
    change.document.role = Role::Live;
    change.decide()
}

pub(super) fn promote<D: Driver>(driver: &D, op: &Op, name: &str, at: &Point) -> Answer<bool> {
    let mut change = Change::of(driver, op, name)?;
    let Document { role, epoch, size, .. } = change.document;
    if role == Role::Live && epoch == op.epoch {
        return change.decide_and_discard();
    }
    let kept = change.document.kept(at)?;
    match role {
        Role::Replica => {}
        Role::Sealed => kept.refuse_unless_sealed()?,
        Role::Live | Role::Gone => return Err(failure(format!("it is live at epoch {epoch}"))),
    }
    let made = driver.restore(&change.new_disk(Purpose::Live), &kept.disk)?;
    // The snapshot's disk has the size of its time; what was announced since may be more.
    if size > kept.size {
        driver.resize(name, &made.disk, size)?;
    }
    change.document.role = Role::Live;
    change.document.epoch = op.epoch;
    change.document.live = Some(made.disk);
    change.document.incoming = None;
    change.decide_and_discard()
}

pub(super) fn retire<D: Driver>(driver: &D, op: &Op, name: &str, at: &Point) -> Answer<bool> {
    let mut change = Change::of(driver, op, name)?;
    match change.document.role {
        Role::Replica => return Ok(false),
        Role::Sealed => change.document.kept(at)?.refuse_unless_sealed()?,
        Role::Live | Role::Gone => return Err(failure("it is not sealed")),
    }
    change.document.role = Role::Replica;
    change.document.epoch = op.epoch;
    change.document.live = None;
    // Its device may still be open here: the host lets go after this, and the next change discards.
    change.decide()
}

/// Where the host reads a snapshot, and the one that an increment begins with.
pub(super) fn plan_send<D: Driver>(
    driver: &D,
    name: &str,
    base: Option<&Point>,
    to: &Point,
) -> Answer<(Access, Option<Access>)> {
    let document = need(driver, name)?;
    let at = |at: &Point| driver.attach(name, &document.kept(at)?.disk, Mode::ReadOnly);
    Ok((at(to)?, base.map(at).transpose()?))
}

/// Where the host writes a snapshot, and where it reads the one that an increment begins with.
pub(super) fn plan_receive<D: Driver>(
    driver: &D,
    op: &Op,
    name: &str,
    base: Option<&Point>,
    size: u64,
) -> Answer<(Access, Option<Access>)> {
    let mut change = match find(driver, name)? {
        Some(_) => Change::of(driver, op, name)?,
        None => Change::first(driver, op, name, Role::Replica, size)?,
    };
    if change.document.role != Role::Replica {
        return Err(failure("it is no replica"));
    }
    let read = |base| driver.attach(name, &change.document.kept(base)?.disk, Mode::ReadOnly);
    let base = base.map(read).transpose()?;
    let Made { disk, made_ms, .. } = driver.receive(&change.new_disk(Purpose::Received), size)?;
    let via = driver.attach(name, &disk, Mode::Write)?;
    change.document.epoch = op.epoch;
    change.document.size = size;
    change.document.incoming = Some(Incoming { disk, made_ms });
    change.decide_and_discard()?;
    Ok((via, base))
}

pub(super) fn finish_receive<D: Driver>(
    driver: &D,
    op: &Op,
    name: &str,
    to: &Point,
    bytes: u64,
) -> Answer<SnapshotInfo> {
    let mut change = Change::of(driver, op, name)?;
    if let Ok(kept) = change.document.kept(to) {
        return Ok(kept.info());
    }
    let disks = driver.disks(name)?;
    let incoming = change.document.incoming.take().filter(|it| disks.contains(&it.disk));
    let incoming = incoming.ok_or_else(|| failure("there is nothing that was received"))?;
    let kept = Kept {
        tag: to.tag.clone(),
        guid: to.guid.clone(),
        disk: incoming.disk,
        taken_ms: incoming.made_ms,
        size: change.document.size,
        bytes,
        sealed: false,
    };
    let info = kept.info();
    change.document.snapshots.push(kept);
    change.decide()?;
    Ok(info)
}

pub(super) fn abort_receive<D: Driver>(driver: &D, op: &Op, name: &str) -> Answer<bool> {
    // One that is being removed is not to be found either: then that is finished.
    let Some(document) = find(driver, name)? else { return destroy(driver, op, name) };
    document.refuse_stale(op)?;
    match document.role {
        Role::Replica if document.snapshots.is_empty() => destroy(driver, op, name),
        Role::Replica => {
            let mut change = Change::of(driver, op, name)?;
            change.document.incoming = None;
            change.decide_and_discard()
        }
        Role::Live | Role::Sealed | Role::Gone => Ok(false),
    }
}
