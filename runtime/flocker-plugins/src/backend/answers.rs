//! From what a backend answered to what the port promises. An answer about something else than was asked is a failure of
//! the plugin, never a fact.

use std::collections::BTreeSet;

use flocker_model::{
    ByteSize, Capacity, Epoch, Guid, Point, Role, Snapshot, SnapshotTag, Timestamp, VolumeId,
    VolumeState,
};
use flocker_ports::Description;

use super::bindings::exports::flocker::plugin::storage_backend::{
    self as wit, Access, BackendInfo, SnapshotInfo, VolumeInfo,
};
use crate::chatter::tame;

/// Entries of one page.
pub(crate) const PAGE: u32 = 500;
/// Epochs begin with the store's revision and grow by one: nobody gets as far as half of all numbers, and one that came
/// from there would leave no next one.
const EPOCH_MAX: u64 = u64::MAX / 2;
/// Linux counts the bytes of a file or a device in a signed number: nothing is larger.
const BYTES_MAX: u64 = i64::MAX as u64;
/// A GUID is a number in some notation; nobody's is longer.
const GUID_CHARS_MAX: usize = 128;
/// Features that a plugin can name.
const FEATURES_MAX: usize = 32;

/// What is wrong with an answer.
pub(crate) type Wrong = String;

/// The host's own form, made from folders: backends with different plugins can send to each other.
const STREAMS: &str = "folders";

pub(crate) fn description(info: BackendInfo) -> Description {
    let features = info.features.into_iter().take(FEATURES_MAX);
    Description {
        driver: tame(&info.driver, 64),
        streams: STREAMS.to_owned(),
        pool: tame(&info.pool, 200),
        features: features.map(|feature| tame(&feature, 64)).collect(),
    }
}

pub(crate) fn capacity(capacity: &wit::Capacity) -> Result<Capacity, Wrong> {
    let (total, free) = (capacity.total_bytes, capacity.free_bytes);
    if free > total {
        return Err(format!("of {total} bytes it says {free} are free"));
    }
    size("its pool", total)?;
    Ok(Capacity { total: ByteSize(total), free: ByteSize(free) })
}

/// The answer to a question about one volume.
pub(crate) fn stat(
    asked: &VolumeId,
    answer: Vec<Option<VolumeInfo>>,
) -> Result<Option<VolumeState>, Wrong> {
    let [answer] = <[_; 1]>::try_from(answer)
        .map_err(|all| format!("it gave {} answers about one volume", all.len()))?;
    let Some(info) = answer else { return Ok(None) };
    let state = volume(&info)?;
    if state.id != *asked {
        return Err(format!("asked about `{asked}`, it answered about `{}`", state.id));
    }
    Ok(Some(state))
}

/// One page of volumes; `last` is the name after which it starts.
pub(crate) fn volumes(
    last: Option<&VolumeId>,
    answer: &[VolumeInfo],
) -> Result<Vec<VolumeState>, Wrong> {
    not_too_many(answer.len())?;
    let states: Vec<_> = answer.iter().map(volume).collect::<Result<_, _>>()?;
    let mut before = last;
    for state in &states {
        if before.is_some_and(|before| *before >= state.id) {
            return Err(format!("it lists `{}` out of order", state.id));
        }
        before = Some(&state.id);
    }
    Ok(states)
}

fn volume(info: &VolumeInfo) -> Result<VolumeState, Wrong> {
    let id = VolumeId::new(tame(&info.name, 100)).map_err(|e| format!("it lists {e}"))?;
    let role = match info.role {
        0 => Role::Live,
        1 => Role::Sealed,
        2 => Role::Replica,
        other => return Err(format!("it gives volume `{id}` the role {other}, which is none")),
    };
    if info.epoch > EPOCH_MAX {
        return Err(format!("it gives volume `{id}` the epoch {}, which is none", info.epoch));
    }
    let what = format!("volume `{id}`");
    let (size, used) = (size(&what, info.size_bytes)?, size(&what, info.used_bytes)?);
    Ok(VolumeState { id, role, epoch: Epoch(info.epoch), size, used })
}

fn size(what: &str, bytes: u64) -> Result<ByteSize, Wrong> {
    if bytes > BYTES_MAX {
        return Err(format!("it gives {what} {bytes} bytes, which nothing has"));
    }
    Ok(ByteSize(bytes))
}

/// One page of snapshots, of those that are not `known` yet; they are from then on.
pub(crate) fn snapshots(
    known: &mut BTreeSet<SnapshotTag>,
    answer: Vec<SnapshotInfo>,
) -> Result<Vec<Snapshot>, Wrong> {
    not_too_many(answer.len())?;
    let page: Vec<_> = answer.into_iter().map(snapshot).collect::<Result<_, _>>()?;
    // Their order is that of time, which names do not show: one that comes again tells of a listing that goes round.
    match page.iter().find(|snapshot| !known.insert(snapshot.point.tag.clone())) {
        Some(again) => Err(format!("it lists snapshot `{}` twice", again.point.tag)),
        None => Ok(page),
    }
}

/// Bytes of all texts in a page of volumes.
pub(crate) fn bytes_of_volumes(answer: &[VolumeInfo]) -> usize {
    answer.iter().map(|info| info.name.len() + bytes_of(&info.attrs)).sum()
}

/// Bytes of all texts in a page of snapshots.
pub(crate) fn bytes_of_snapshots(answer: &[SnapshotInfo]) -> usize {
    let texts = |info: &SnapshotInfo| info.at.tag.len() + info.at.guid.len();
    answer.iter().map(|info| texts(info) + bytes_of(&info.attrs)).sum()
}

fn bytes_of(attrs: &[wit::Attr]) -> usize {
    attrs.iter().map(|attr| attr.key.len() + attr.value.len()).sum()
}

fn not_too_many(n: usize) -> Result<(), Wrong> {
    if n > PAGE as usize { Err(format!("asked for {PAGE} entries, it gave {n}")) } else { Ok(()) }
}

fn snapshot(info: SnapshotInfo) -> Result<Snapshot, Wrong> {
    let tag = SnapshotTag::new(tame(&info.at.tag, 200)).map_err(|e| format!("it lists {e}"))?;
    let guid = info.at.guid;
    if guid.is_empty() || guid.len() > GUID_CHARS_MAX || !guid.chars().all(|c| c.is_ascii_graphic())
    {
        return Err(format!("snapshot `{tag}` has a GUID that is none"));
    }
    Ok(Snapshot {
        point: Point { tag, guid: Guid(guid) },
        taken: Timestamp(info.taken_ms),
        referenced: size("a snapshot", info.referenced_bytes)?,
    })
}

/// The answer to "snapshot these volumes".
pub(crate) fn taken(
    n_volumes: usize,
    tag: &SnapshotTag,
    answer: Vec<SnapshotInfo>,
) -> Result<Vec<Snapshot>, Wrong> {
    if answer.len() != n_volumes {
        return Err(format!("of {n_volumes} volumes it made {} snapshots", answer.len()));
    }
    let taken: Vec<_> = answer.into_iter().map(snapshot).collect::<Result<_, _>>()?;
    match taken.iter().find(|snapshot| snapshot.point.tag != *tag) {
        Some(other) => Err(format!("asked for snapshot `{tag}`, it made `{}`", other.point.tag)),
        None => Ok(taken),
    }
}

/// The answer to "it is all there".
pub(crate) fn received(to: &Point, answer: SnapshotInfo) -> Result<Snapshot, Wrong> {
    let received = snapshot(answer)?;
    if received.point != *to {
        let (tag, guid) = (&received.point.tag, &received.point.guid);
        return Err(format!("it kept the received snapshot `{}` as `{tag}` {guid}", to.tag));
    }
    Ok(received)
}

/// Where the host finds bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Way {
    /// In a granted directory.
    Folder(String),
    /// In the filesystem on a granted device.
    Device(String),
}

impl Way {
    pub(crate) fn path(&self) -> &str {
        match self {
            Self::Folder(path) | Self::Device(path) => path,
        }
    }
}

/// The ways that this host goes.
pub(crate) fn way(access: Access) -> Result<Way, Wrong> {
    let what = match access {
        Access::Directory(path) => return Ok(Way::Folder(path)),
        Access::BlockDevice(path) => return Ok(Way::Device(path)),
        Access::Process(_) => "a command",
        Access::Http(_) => "HTTP",
        Access::ThroughPlugin(_) => "the plugin itself",
        Access::Other(_) => "something that has no name here",
    };
    Err(format!(
        "it wants its bytes moved through {what}; this host moves them in directories and on block devices only"
    ))
}

pub(crate) fn point(point: &Point) -> wit::Point {
    wit::Point { tag: point.tag.to_string(), guid: point.guid.0.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(name: &str) -> VolumeInfo {
        let name = name.to_owned();
        VolumeInfo { name, role: 0, epoch: 1, size_bytes: 1, used_bytes: 0, attrs: Vec::new() }
    }

    fn id(name: &str) -> VolumeId {
        VolumeId::new(name).unwrap()
    }

    #[test]
    fn an_answer_about_another_volume_is_no_answer() {
        assert!(stat(&id("a"), vec![Some(info("a"))]).unwrap().is_some());
        assert_eq!(stat(&id("a"), vec![None]), Ok(None));
        for (answer, word) in [
            (vec![Some(info("b"))], "answered about `b`"),
            (vec![], "0 answers"),
            (vec![None, None], "2 answers"),
            (vec![Some(info("../a"))], "not a valid volume id"),
            (vec![Some(VolumeInfo { role: 9, ..info("a") })], "role 9"),
            (vec![Some(VolumeInfo { epoch: u64::MAX, ..info("a") })], "the epoch 1844"),
            (vec![Some(VolumeInfo { size_bytes: u64::MAX, ..info("a") })], "which nothing has"),
        ] {
            let said = stat(&id("a"), answer).unwrap_err();
            assert!(said.contains(word), "{said}");
        }
    }

    #[test]
    fn a_listing_goes_on_or_is_refused() {
        let names = |names: &[&str]| names.iter().map(|name| info(name)).collect::<Vec<_>>();
        assert_eq!(volumes(Some(&id("a")), &names(&["b", "c"])).unwrap().len(), 2);
        for wrong in [names(&["a"]), names(&["c", "b"]), names(&["b", "b"])] {
            assert!(volumes(Some(&id("a")), &wrong).unwrap_err().contains("out of order"));
        }
        let endless = vec![info("a"); PAGE as usize + 1];
        assert!(volumes(None, &endless).unwrap_err().contains("it gave 501"));
    }
}
