//! What may be done with a copy in which role. The host keeps these rules for every backend, before it asks.
//!
//! ```text
//! (absent) --create--> live --seal--> sealed --retire--> replica --promote--> live
//!     \------receive-----------------------------------------^   (sealed --promote--> live too)
//! ```

use flocker_model::{Epoch, Point, Role, Snapshot, VolumeState};
use flocker_ports::{BackendError, Change, Op};

/// A change that may be made, or one that was made already.
pub(crate) type Ruling = Result<Change, BackendError>;

/// What errors call a role.
fn role_name(role: Role) -> &'static str {
    match role {
        Role::Live => "live",
        Role::Sealed => "sealed",
        Role::Replica => "a replica",
    }
}

fn stale(op: &Op, found: &VolumeState) -> BackendError {
    let (volume, current, asked) = (found.id.clone(), found.epoch, op.epoch);
    BackendError::StaleEpoch { volume, current, asked }
}

/// The check that every change starts with.
pub(crate) fn refuse_stale(op: &Op, found: &VolumeState) -> Result<(), BackendError> {
    if op.epoch < found.epoch { Err(stale(op, found)) } else { Ok(()) }
}

fn refuse_unless_newer(op: &Op, found: &VolumeState) -> Result<(), BackendError> {
    if op.epoch <= found.epoch { Err(stale(op, found)) } else { Ok(()) }
}

fn wrong(state: &VolumeState, found: &'static str, needed: &'static str) -> BackendError {
    BackendError::WrongRole { volume: state.id.clone(), found, needed }
}

pub(crate) fn create(op: &Op, found: &VolumeState) -> Ruling {
    refuse_stale(op, found)?;
    match found.role {
        Role::Live if op.epoch == found.epoch => Ok(Change::None),
        Role::Live => Err(wrong(found, "live at an older epoch", "absent")),
        Role::Sealed | Role::Replica => Err(wrong(found, role_name(found.role), "absent")),
    }
}

pub(crate) fn resize(op: &Op, found: &VolumeState) -> Result<(), BackendError> {
    refuse_stale(op, found)?;
    match found.role {
        Role::Live => Ok(()),
        Role::Sealed | Role::Replica => Err(wrong(found, role_name(found.role), "live")),
    }
}

/// A snapshot that is there already is answered in any role.
pub(crate) fn snapshot(op: &Op, found: &VolumeState, exists: bool) -> Result<(), BackendError> {
    refuse_stale(op, found)?;
    match found.role {
        Role::Live | Role::Sealed => Ok(()),
        Role::Replica if exists => Ok(()),
        Role::Replica => Err(wrong(found, role_name(found.role), "live or sealed")),
    }
}

pub(crate) fn attach(op: &Op, found: &VolumeState) -> Result<(), BackendError> {
    refuse_stale(op, found)?;
    match found.role {
        Role::Live if op.epoch == found.epoch => Ok(()),
        Role::Live => Err(wrong(found, "live at an older epoch", "live at the epoch asked for")),
        Role::Sealed | Role::Replica => Err(wrong(found, role_name(found.role), "live")),
    }
}

pub(crate) fn seal(op: &Op, found: &VolumeState) -> Ruling {
    refuse_stale(op, found)?;
    match found.role {
        Role::Live => Ok(Change::Made),
        Role::Sealed if found.epoch == op.epoch => Ok(Change::None),
        Role::Sealed => Err(wrong(found, "sealed at an older epoch", "live")),
        Role::Replica => Err(wrong(found, role_name(found.role), "live")),
    }
}

pub(crate) fn unseal(op: &Op, found: &VolumeState) -> Ruling {
    refuse_stale(op, found)?;
    if op.epoch != found.epoch {
        return Err(wrong(found, "at an older epoch", "sealed at the epoch asked for"));
    }
    match found.role {
        Role::Live => Ok(Change::None),
        Role::Sealed => Ok(Change::Made),
        Role::Replica => Err(wrong(found, role_name(found.role), "sealed")),
    }
}

pub(crate) fn promote(op: &Op, found: &VolumeState) -> Ruling {
    match found.role {
        Role::Live if op.epoch == found.epoch => Ok(Change::None),
        Role::Live => {
            refuse_stale(op, found)?;
            Err(wrong(found, "live at an older epoch", "a replica or sealed"))
        }
        Role::Sealed | Role::Replica => refuse_unless_newer(op, found).map(|()| Change::Made),
    }
}

pub(crate) fn retire(op: &Op, found: &VolumeState) -> Ruling {
    match found.role {
        Role::Live => {
            refuse_stale(op, found)?;
            Err(wrong(found, role_name(found.role), "sealed"))
        }
        Role::Replica => refuse_stale(op, found).map(|()| Change::None),
        // Under the sealed epoch itself nobody else owns it yet: it may be the only copy.
        Role::Sealed => refuse_unless_newer(op, found).map(|()| Change::Made),
    }
}

pub(crate) fn receive(op: &Op, found: &VolumeState) -> Result<(), BackendError> {
    refuse_stale(op, found)?;
    match found.role {
        Role::Replica => Ok(()),
        Role::Live | Role::Sealed => {
            Err(wrong(found, role_name(found.role), "a replica or absent"))
        }
    }
}

/// Copies that have a newer snapshot, or another one of that name, have another history.
pub(crate) fn newest_must_be(
    found: &VolumeState,
    snapshots: &[Snapshot],
    at: &Point,
) -> Result<(), BackendError> {
    let said = |point: &Point| format!("{} {}", point.tag, point.guid);
    match snapshots.last() {
        Some(newest) if newest.point == *at => Ok(()),
        Some(newest) => Err(BackendError::Diverged {
            volume: found.id.clone(),
            expected: said(at),
            found: said(&newest.point),
        }),
        None => Err(BackendError::NoSuchSnapshot { volume: found.id.clone(), tag: at.tag.clone() }),
    }
}

/// The epoch that a copy must have after a change: a backend that answers otherwise has not kept it.
pub(crate) fn must_be_now(
    found: Option<&VolumeState>,
    role: Role,
    epoch: Epoch,
) -> Result<(), String> {
    match found {
        Some(found) if (found.role, found.epoch) == (role, epoch) => Ok(()),
        Some(found) => Err(format!(
            "it said that the volume is {} at epoch {epoch} now, but then that it is {} at epoch {}",
            role_name(role),
            role_name(found.role),
            found.epoch
        )),
        None => Err("it said that the volume is there now, but then that it is not".to_owned()),
    }
}
