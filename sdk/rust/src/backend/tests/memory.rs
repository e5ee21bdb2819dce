//! Storage in memory that several nodes share, and that fails at the call where a test wants it to.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

use crate::backend::{
    Access, Answer, BUSY, Capacity, Document, Driver, Made, Mode, Named, New, Owner, STALE, Stored,
    coded, failure,
};

/// How it finds a disk of an earlier attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Kind {
    /// By the client's key, as arrays do: it is the same disk.
    #[default]
    Keyed,
    /// By its name, as folders: it is made anew. What is received is there once the host has made it.
    Named,
}

/// What happens at a call.
pub(super) enum Fault {
    /// It fails, and has done nothing.
    Before,
    /// It has done it, and fails.
    After,
    /// Somebody else is faster.
    Between(Box<dyn FnOnce()>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Disk {
    volume: String,
    key: String,
    pub(super) content: String,
    pub(super) size: u64,
}

#[derive(Default)]
pub(super) struct Shelf {
    pub(super) documents: RefCell<BTreeMap<String, (u64, Document)>>,
    pub(super) disks: RefCell<BTreeMap<String, Disk>>,
    n_made: Cell<u64>,
    n_calls: Cell<usize>,
    fault: RefCell<Option<(usize, Fault)>>,
}

/// A node's driver.
#[derive(Default, Clone)]
pub(super) struct Memory {
    pub(super) kind: Kind,
    /// Whose keys these are.
    pub(super) client: &'static str,
    pub(super) shelf: Rc<Shelf>,
}

impl Memory {
    pub(super) fn of(kind: Kind) -> Self {
        Self { kind, ..Self::default() }
    }

    /// Calls from now on are counted; one of them fails.
    pub(super) fn arm(&self, fault: Option<(usize, Fault)>) {
        self.shelf.n_calls.set(0);
        self.shelf.fault.replace(fault);
    }

    /// Answers how many calls there were.
    pub(super) fn disarm(&self) -> usize {
        self.shelf.fault.take();
        self.shelf.n_calls.get()
    }

    fn call<T>(&self, effect: impl FnOnce(&Shelf) -> Answer<T>) -> Answer<T> {
        let number = self.shelf.n_calls.get();
        self.shelf.n_calls.set(number + 1);
        let fault = self.shelf.fault.borrow_mut().take_if(|(at, _)| *at == number);
        match fault {
            Some((_, Fault::Before)) => Err(failure("a fault, before")),
            Some((_, Fault::After)) => effect(&self.shelf).and(Err(failure("a fault, after"))),
            Some((_, Fault::Between(other))) => {
                other();
                effect(&self.shelf)
            }
            None => effect(&self.shelf),
        }
    }

    /// The id of a disk on the shelf.
    pub(super) fn id(&self, volume: &str, disk: &str) -> String {
        match self.kind {
            Kind::Keyed => disk.to_owned(),
            Kind::Named => format!("{volume}/{disk}"),
        }
    }

    /// What the host or a container writes.
    pub(super) fn write(&self, volume: &str, disk: &str, content: &str) {
        let mut disks = self.shelf.disks.borrow_mut();
        let (volume_, key) = (volume.to_owned(), String::new());
        let blank = Disk { volume: volume_, key, content: String::new(), size: 0 };
        let disk = disks.entry(self.id(volume, disk)).or_insert(blank);
        content.clone_into(&mut disk.content);
    }

    fn made(&self, new: &New<'_>, content: String, size: u64) -> Made {
        let (shelf, key) = (&self.shelf, format!("{}/{}", self.client, new.key()));
        let number = shelf.n_made.get() + 1;
        shelf.n_made.set(number);
        let mut disks = shelf.disks.borrow_mut();
        let found = disks.iter().find(|(_, disk)| disk.volume == new.volume && disk.key == key);
        let disk = match (self.kind, found) {
            (Kind::Keyed, Some((id, _))) => id.clone(),
            (Kind::Keyed, None) => format!("disk-{number}"),
            (Kind::Named, _) => new.name(),
        };
        if self.kind == Kind::Named || found.is_none() {
            let volume = new.volume.to_owned();
            disks.insert(self.id(new.volume, &disk), Disk { volume, key, content, size });
        }
        Made { disk, guid: format!("guid-{number}"), made_ms: number, bytes: None }
    }

    fn copy(&self, new: &New<'_>, from: &str) -> Answer<Made> {
        let found = self.shelf.disks.borrow().get(&self.id(new.volume, from)).cloned();
        let found = found.ok_or_else(|| failure(format!("there is no disk `{from}`")))?;
        Ok(self.made(new, found.content, found.size))
    }
}

impl Shelf {
    fn refuse_late(&self, volume: &str, seen: Option<u64>, epoch: u64) -> Answer<()> {
        let documents = self.documents.borrow();
        let found = documents.get(volume);
        if found.is_some_and(|(_, there)| epoch < there.epoch()) {
            return Err(coded(STALE, "it is at a newer epoch"));
        }
        if found.map(|(revision, _)| *revision) != seen {
            return Err(coded(BUSY, "somebody else changed it meanwhile"));
        }
        Ok(())
    }
}

impl Driver for Memory {
    const NAME: &'static str = "memory";
    const NEEDS: &'static [(&'static str, &'static str)] = &[];
    type Revision = u64;

    fn pool(&self) -> String {
        "memory".to_owned()
    }

    fn capacity(&self) -> Answer<Capacity> {
        Ok(Capacity { total_bytes: 0, free_bytes: 0 })
    }

    fn documents(&self, after: Option<&str>, limit: u32) -> Answer<Vec<Named>> {
        self.call(|shelf| {
            let documents = shelf.documents.borrow();
            let rest =
                documents.iter().filter(|(name, _)| after.is_none_or(|it| name.as_str() > it));
            let named = |(name, (_, document)): (&String, &(u64, Document))| {
                let damaged = name.starts_with("damaged");
                let document = document.clone();
                let document = if damaged { Err(failure("damaged")) } else { Ok(document) };
                Named { volume: name.clone(), document }
            };
            Ok(rest.take(limit as usize).map(named).collect())
        })
    }

    fn read(&self, volume: &str) -> Answer<Option<Stored<u64>>> {
        self.call(|shelf| {
            let found = shelf.documents.borrow().get(volume).cloned();
            Ok(found.map(|(revision, document)| Stored { revision, document }))
        })
    }

    fn replace(&self, volume: &str, seen: Option<u64>, document: &Document) -> Answer<u64> {
        self.call(|shelf| {
            shelf.refuse_late(volume, seen, document.epoch())?;
            shelf.n_made.set(shelf.n_made.get() + 1);
            let revision = shelf.n_made.get();
            shelf.documents.borrow_mut().insert(volume.to_owned(), (revision, document.clone()));
            Ok(revision)
        })
    }

    fn remove(&self, volume: &str, seen: Stored<u64>) -> Answer<()> {
        self.call(|shelf| {
            shelf.refuse_late(volume, Some(seen.revision), seen.document.epoch())?;
            shelf.documents.borrow_mut().remove(volume);
            Ok(())
        })
    }

    fn prepare(&self, volume: &str) -> Answer<()> {
        self.call(|shelf| {
            let disks = shelf.disks.borrow();
            let is_full = |disk: &Disk| disk.volume == volume && !disk.content.is_empty();
            match self.kind == Kind::Named && disks.values().any(is_full) {
                true => Err(failure(format!("`{volume}` holds files, but has no document"))),
                false => Ok(()),
            }
        })
    }

    fn disks(&self, volume: &str) -> Answer<Vec<String>> {
        self.call(|shelf| {
            let disks = shelf.disks.borrow();
            let own = disks.iter().filter(|(_, disk)| disk.volume == volume);
            let short = |id: &String| id.rsplit('/').next().unwrap_or(id).to_owned();
            Ok(own.map(|(id, _)| short(id)).collect())
        })
    }

    fn blank(&self, new: &New<'_>, size: u64, _owner: Option<Owner>) -> Answer<Made> {
        self.call(|_| Ok(self.made(new, String::new(), size)))
    }

    fn receive(&self, new: &New<'_>, size: u64) -> Answer<Made> {
        self.call(|shelf| {
            let made = self.made(new, String::new(), size);
            if self.kind == Kind::Named {
                shelf.disks.borrow_mut().remove(&self.id(new.volume, &made.disk));
            }
            Ok(made)
        })
    }

    fn snapshot(&self, new: &New<'_>, live: &str) -> Answer<Made> {
        self.call(|_| self.copy(new, live))
    }

    fn restore(&self, new: &New<'_>, snapshot: &str) -> Answer<Made> {
        self.call(|_| self.copy(new, snapshot))
    }

    fn resize(&self, volume: &str, disk: &str, size: u64) -> Answer<()> {
        self.call(|shelf| {
            let mut disks = shelf.disks.borrow_mut();
            let disk = disks.get_mut(&self.id(volume, disk));
            let disk = disk.ok_or_else(|| failure("there is no such disk"))?;
            if size < disk.size {
                return Err(failure("a disk does not shrink"));
            }
            disk.size = size;
            Ok(())
        })
    }

    fn discard(&self, volume: &str, disk: &str) -> Answer<()> {
        self.call(|shelf| {
            shelf.disks.borrow_mut().remove(&self.id(volume, disk));
            Ok(())
        })
    }

    fn attach(&self, volume: &str, disk: &str, mode: Mode) -> Answer<Access> {
        self.call(|_| {
            let how = if mode == Mode::Write { "rw" } else { "ro" };
            Ok(Access::BlockDevice(format!("{how}:{}", self.id(volume, disk))))
        })
    }
}
