//! What each verb decides from what a volume is. Pure; the pool checks that the volume is still so when it is done.

use std::cmp::Ordering;

use flocker_model::{ByteSize, Epoch, Point, Role, SnapshotTag, VolumeId};
use flocker_ports::{BackendError, Op};

use crate::state::{Label, State, Want};

/// What a verb wants of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// It is so already.
    Keep,
    /// Its properties become these.
    Set(Label),
    /// The same, if this snapshot is the newest of ours and nothing was written after it.
    SetAt(Label, Point),
}

type Decision = Result<Step, BackendError>;

/// What errors call a role.
pub(crate) fn role_name(want: Want) -> &'static str {
    match want {
        Want::Making => "unfinished",
        Want::Role(Role::Live) => "live",
        Want::Role(Role::Sealed) => "sealed",
        Want::Role(Role::Replica) => "a replica",
        Want::Gone => "being removed",
    }
}

/// The epoch check that every change starts with.
pub(crate) fn refuse_stale(op: &Op, volume: &VolumeId, current: Epoch) -> Result<(), BackendError> {
    if op.epoch < current {
        return Err(BackendError::StaleEpoch { volume: volume.clone(), current, asked: op.epoch });
    }
    Ok(())
}

/// For changes that only a newer owner may ask for.
fn refuse_unless_newer(op: &Op, volume: &VolumeId, current: Epoch) -> Result<(), BackendError> {
    if op.epoch <= current {
        return Err(BackendError::StaleEpoch { volume: volume.clone(), current, asked: op.epoch });
    }
    Ok(())
}

fn wrong_role(volume: &VolumeId, found: &'static str, needed: &'static str) -> BackendError {
    BackendError::WrongRole { volume: volume.clone(), found, needed }
}

/// A volume that is there already.
pub(crate) fn create(op: &Op, volume: &VolumeId, state: &State) -> Decision {
    let Label { want, epoch, .. } = state.label;
    refuse_stale(op, volume, epoch)?;
    match want {
        Want::Role(Role::Live) if op.epoch == epoch => Ok(Step::Keep),
        Want::Role(Role::Live) => Err(wrong_role(volume, "live at an older epoch", "absent")),
        other @ (Want::Role(_) | Want::Making | Want::Gone) => {
            Err(wrong_role(volume, role_name(other), "absent"))
        }
    }
}

pub(crate) fn resize(op: &Op, volume: &VolumeId, state: &State, size: ByteSize) -> Decision {
    refuse_stale(op, volume, state.label.epoch)?;
    match state.label.want {
        Want::Role(Role::Live) if state.label.size == size => Ok(Step::Keep),
        Want::Role(Role::Live) => Ok(Step::Set(Label { size, ..state.label })),
        other @ (Want::Role(_) | Want::Making | Want::Gone) => {
            Err(wrong_role(volume, role_name(other), "live"))
        }
    }
}

pub(crate) fn destroy(op: &Op, volume: &VolumeId, state: &State) -> Decision {
    refuse_stale(op, volume, state.label.epoch)?;
    Ok(Step::Set(Label { want: Want::Gone, epoch: op.epoch, size: state.label.size }))
}

/// Whether a snapshot of that name may be taken of the volume, or is there.
pub(crate) fn snapshot(
    op: &Op,
    volume: &VolumeId,
    state: &State,
    tag: &SnapshotTag,
) -> Result<(), BackendError> {
    refuse_stale(op, volume, state.label.epoch)?;
    match state.label.want {
        Want::Role(Role::Live | Role::Sealed) => Ok(()),
        Want::Role(Role::Replica) if state.by_tag(tag).is_some() => Ok(()),
        other @ (Want::Role(Role::Replica) | Want::Making | Want::Gone) => {
            Err(wrong_role(volume, role_name(other), "live or sealed"))
        }
    }
}

/// Whether the volume may be attached.
pub(crate) fn attach(op: &Op, volume: &VolumeId, state: &State) -> Result<(), BackendError> {
    let Label { want, epoch, .. } = state.label;
    refuse_stale(op, volume, epoch)?;
    match want {
        Want::Role(Role::Live) if op.epoch == epoch => Ok(()),
        Want::Role(Role::Live) => {
            Err(wrong_role(volume, "live at an older epoch", "live at the epoch asked for"))
        }
        other @ (Want::Role(_) | Want::Making | Want::Gone) => {
            Err(wrong_role(volume, role_name(other), "live"))
        }
    }
}

pub(crate) fn seal(op: &Op, volume: &VolumeId, state: &State) -> Decision {
    let Label { want, epoch, size } = state.label;
    refuse_stale(op, volume, epoch)?;
    match want {
        Want::Role(Role::Live) => {
            Ok(Step::Set(Label { want: Want::Role(Role::Sealed), epoch: op.epoch, size }))
        }
        Want::Role(Role::Sealed) if epoch == op.epoch => Ok(Step::Keep),
        Want::Role(Role::Sealed) => Err(wrong_role(volume, "sealed at an older epoch", "live")),
        other @ (Want::Role(_) | Want::Making | Want::Gone) => {
            Err(wrong_role(volume, role_name(other), "live"))
        }
    }
}

pub(crate) fn unseal(op: &Op, volume: &VolumeId, state: &State) -> Decision {
    let label = state.label;
    refuse_stale(op, volume, label.epoch)?;
    if op.epoch != label.epoch {
        return Err(wrong_role(volume, "at an older epoch", "sealed at the epoch asked for"));
    }
    match label.want {
        Want::Role(Role::Live) => Ok(Step::Keep),
        Want::Role(Role::Sealed) => Ok(Step::Set(Label { want: Want::Role(Role::Live), ..label })),
        other @ (Want::Role(_) | Want::Making | Want::Gone) => {
            Err(wrong_role(volume, role_name(other), "sealed"))
        }
    }
}

pub(crate) fn promote(op: &Op, volume: &VolumeId, state: &State, at: &Point) -> Decision {
    let Label { want, epoch, size } = state.label;
    match want {
        Want::Role(Role::Live) if op.epoch == epoch => return Ok(Step::Keep),
        Want::Role(Role::Live) => {
            refuse_stale(op, volume, epoch)?;
            return Err(wrong_role(volume, "live at an older epoch", "a replica or sealed"));
        }
        Want::Role(Role::Sealed | Role::Replica) => refuse_unless_newer(op, volume, epoch)?,
        Want::Making | Want::Gone => {
            return Err(wrong_role(volume, role_name(want), "a replica or sealed"));
        }
    }
    newest_must_be(volume, state, at)?;
    Ok(Step::SetAt(Label { want: Want::Role(Role::Live), epoch: op.epoch, size }, at.clone()))
}

pub(crate) fn retire(op: &Op, volume: &VolumeId, state: &State, at: &Point) -> Decision {
    let Label { want, epoch, size } = state.label;
    match want {
        Want::Role(Role::Replica) => {
            refuse_stale(op, volume, epoch)?;
            return Ok(Step::Keep);
        }
        // Under the sealed epoch itself nobody else owns it yet: it may be the only copy.
        Want::Role(Role::Sealed) => refuse_unless_newer(op, volume, epoch)?,
        Want::Role(Role::Live) | Want::Making | Want::Gone => {
            refuse_stale(op, volume, epoch)?;
            return Err(wrong_role(volume, role_name(want), "sealed"));
        }
    }
    newest_must_be(volume, state, at)?;
    Ok(Step::SetAt(Label { want: Want::Role(Role::Replica), epoch: op.epoch, size }, at.clone()))
}

/// A replica on its way to `to`: what it remembers before the first byte, so that a slower sender of an older epoch is
/// refused from now on.
pub(crate) fn receive(op: &Op, volume: &VolumeId, state: &State, size: ByteSize) -> Decision {
    refuse_stale(op, volume, state.label.epoch)?;
    let replica = Label { want: Want::Role(Role::Replica), epoch: op.epoch, size };
    match state.label.want {
        Want::Role(Role::Replica) if state.label == replica => Ok(Step::Keep),
        Want::Role(Role::Replica) => Ok(Step::Set(replica)),
        other @ (Want::Role(_) | Want::Making | Want::Gone) => {
            Err(wrong_role(volume, role_name(other), "a replica or absent"))
        }
    }
}

/// Copies that have a newer snapshot, or another one of that name, have another history.
fn newest_must_be(volume: &VolumeId, state: &State, at: &Point) -> Result<(), BackendError> {
    match state.points().next_back() {
        Some(newest) if newest == at => Ok(()),
        Some(newest) => Err(BackendError::Diverged {
            volume: volume.clone(),
            expected: format!("{} {}", at.tag, at.guid),
            found: format!("{} {}", newest.tag, newest.guid),
        }),
        None => Err(BackendError::NoSuchSnapshot { volume: volume.clone(), tag: at.tag.clone() }),
    }
}

/// What the kernel must hold a volume to. What is in a volume already is never above its quota, which ZFS would refuse:
/// then nothing more can be written.
pub(crate) fn quota(state: &State) -> ByteSize {
    match state.label.want {
        Want::Role(Role::Live | Role::Sealed) | Want::Making => {
            ByteSize(state.label.size.0.max(state.referenced.0))
        }
        Want::Role(Role::Replica) | Want::Gone => ByteSize(0),
    }
}

/// What the pool must keep free for a volume.
fn reservation(state: &State) -> ByteSize {
    match state.label.want {
        Want::Role(Role::Live | Role::Sealed) if state.reserved => state.label.size,
        Want::Role(_) | Want::Making | Want::Gone => ByteSize(0),
    }
}

/// What the reservation should be, where it is more or less than that.
pub(crate) fn to_reserve(state: &State) -> (Ordering, ByteSize) {
    let wanted = reservation(state);
    let change = if state.reserved { wanted.cmp(&state.reservation) } else { Ordering::Equal };
    (change, wanted)
}

/// The properties of ZFS's own that a volume should have and has not, for `zfs set`.
pub(crate) fn to_set(state: &State) -> Vec<String> {
    let read_only = match state.label.want {
        Want::Role(Role::Live) | Want::Making => false,
        Want::Role(Role::Sealed | Role::Replica) | Want::Gone => true,
    };
    let mut set = Vec::new();
    if state.read_only != read_only {
        set.push(format!("readonly={}", if read_only { "on" } else { "off" }));
    }
    let quota = quota(state);
    if state.quota != quota {
        let value = if quota.0 == 0 { "none".to_owned() } else { quota.0.to_string() };
        set.push(format!("refquota={value}"));
    }
    set
}

#[cfg(test)]
mod tests {
    use flocker_model::{Guid, OperationId, Snapshot, Timestamp};

    use super::*;

    fn state(want: Want, epoch: u64, guids: &[&str]) -> State {
        let snapshots = guids.iter().map(|guid| Snapshot {
            point: point(guid),
            taken: Timestamp(0),
            referenced: ByteSize(0),
        });
        State {
            label: Label { want, epoch: Epoch(epoch), size: ByteSize(100) },
            read_only: false,
            quota: ByteSize(100),
            referenced: ByteSize(10),
            reservation: ByteSize(0),
            encrypted: false,
            unlocked: false,
            reserved: false,
            secret: None,
            rollback: None,
            record_size: None,
            compression: None,
            unfinished: None,
            origins: Vec::new(),
            snapshots: snapshots.collect(),
            others: Vec::new(),
        }
    }

    fn point(guid: &str) -> Point {
        Point { tag: SnapshotTag::new(format!("t{guid}")).unwrap(), guid: Guid(guid.to_owned()) }
    }

    fn op(epoch: u64) -> Op {
        Op { id: OperationId::new("test").unwrap(), epoch: Epoch(epoch) }
    }

    fn volume() -> VolumeId {
        VolumeId::new("v").unwrap()
    }

    const LIVE: Want = Want::Role(Role::Live);
    const SEALED: Want = Want::Role(Role::Sealed);
    const REPLICA: Want = Want::Role(Role::Replica);

    #[test]
    fn only_a_newer_epoch_promotes_and_only_at_the_newest_snapshot() {
        let replica = state(REPLICA, 2, &["1", "2"]);
        let ask = |epoch, guid: &str| promote(&op(epoch), &volume(), &replica, &point(guid));

        assert!(matches!(ask(2, "2"), Err(BackendError::StaleEpoch { .. })));
        assert!(matches!(ask(3, "1"), Err(BackendError::Diverged { .. })));
        let label = Label { want: LIVE, epoch: Epoch(3), size: ByteSize(100) };
        assert_eq!(ask(3, "2").unwrap(), Step::SetAt(label, point("2")));
    }

    #[test]
    fn what_is_done_already_is_kept() {
        let (here, v) = (op(2), volume());

        assert_eq!(create(&here, &v, &state(LIVE, 2, &[])).unwrap(), Step::Keep);
        assert_eq!(seal(&here, &v, &state(SEALED, 2, &[])).unwrap(), Step::Keep);
        assert_eq!(unseal(&here, &v, &state(LIVE, 2, &[])).unwrap(), Step::Keep);
        assert_eq!(promote(&here, &v, &state(LIVE, 2, &[]), &point("1")).unwrap(), Step::Keep);
        assert_eq!(retire(&here, &v, &state(REPLICA, 2, &[]), &point("1")).unwrap(), Step::Keep);
        assert_eq!(resize(&here, &v, &state(LIVE, 2, &[]), ByteSize(100)).unwrap(), Step::Keep);
    }

    #[test]
    fn a_snapshot_of_a_replica_is_only_answered_again() {
        let replica = state(REPLICA, 2, &["1"]);
        let ask =
            |guid: &str, epoch| snapshot(&op(epoch), &volume(), &replica, &point(guid).tag).err();

        assert!(ask("1", 2).is_none());
        assert!(matches!(ask("2", 2), Some(BackendError::WrongRole { .. })));
        assert!(matches!(ask("1", 1), Some(BackendError::StaleEpoch { .. })));
    }

    #[test]
    fn nothing_is_done_to_an_owners_copy_but_by_its_owner() {
        let (v, here) = (volume(), op(3));
        for want in [LIVE, SEALED] {
            let state = state(want, 2, &["1"]);
            assert!(receive(&here, &v, &state, ByteSize(1)).is_err());
            assert!(attach(&here, &v, &state).is_err());
            assert!(unseal(&here, &v, &state).is_err());
        }
        assert!(retire(&here, &v, &state(LIVE, 2, &["1"]), &point("1")).is_err());
    }

    #[test]
    fn what_a_crash_left_undone_is_set() {
        assert_eq!(to_set(&state(LIVE, 1, &[])), Vec::<String>::new());
        assert_eq!(to_set(&state(SEALED, 1, &[])), ["readonly=on"]);
        assert_eq!(to_set(&state(REPLICA, 1, &[])), ["readonly=on", "refquota=none"]);
        let grown = State { quota: ByteSize(0), referenced: ByteSize(150), ..state(LIVE, 1, &[]) };
        assert_eq!(to_set(&grown), ["refquota=150"]);
        let roomy = State { referenced: ByteSize(10), quota: ByteSize(150), ..grown };
        assert_eq!(to_set(&roomy), ["refquota=100"], "there is room for its size again");
    }
}
