//! The verbs: read what a volume is, decide, have the pool check and set it at once, and settle.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::{MetadataExt, chown},
    path::{Path, PathBuf},
};

use flocker_model::{
    ByteSize, Compression, Epoch, Point, Role, VolumeId, VolumeOptions, VolumeState,
};
use flocker_ports::{Attachment, BackendError, Change, Op};
use flocker_zfs_wire::{Call, Map, Value};

use crate::{
    backend::Node,
    command::{list_volumes, parse_volumes, run},
    errors::{About, describe},
    mount,
    plan::{self, Step},
    state::{self, Found, HIDDEN, Label, MARK, State, Want},
};

/// How often a decision is made anew, because the pool was no longer as it was read. Somebody else would have to change
/// the same volume each time.
pub(crate) const TRIES: usize = 8;

/// What the pool said to a change.
pub(crate) enum Said {
    Done,
    /// A volume is no longer what it was.
    Changed,
    /// Something was written after the newest snapshot.
    Written,
}

/// What becomes of one volume, if it is still what it was.
#[derive(Default)]
pub(crate) struct Effect {
    pub(crate) set: Option<Label>,
    pub(crate) newest: Option<Point>,
    /// What is written down of a way back.
    pub(crate) rollback: Option<String>,
}

impl Node {
    /// What is there under the volume's name.
    pub(crate) async fn look(&self, volume: &VolumeId) -> Result<Found, BackendError> {
        let about = self.about("could not read what is known about", volume);
        let arguments = Map::from([
            ("parent".to_owned(), self.parent.as_str().into()),
            ("dataset".to_owned(), self.dataset(volume).into()),
            ("mark".to_owned(), MARK.into()),
            ("hidden".to_owned(), HIDDEN.into()),
        ]);
        let answer = self.program(include_str!("programs/state.lua"), false, arguments).await;
        let answer = answer.map_err(|error| about.explain(error))?;
        state::read(&answer).map_err(|reason| about.failed(reason))
    }

    /// A volume that is there for others: not one that is being made or removed.
    pub(crate) async fn find(&self, volume: &VolumeId) -> Result<Option<Box<State>>, BackendError> {
        self.refuse_rolling(volume)?;
        Ok(match self.look(volume).await? {
            Found::Ours(state) if matches!(state.label.want, Want::Role(_)) => Some(state),
            Found::Ours(_) | Found::Absent | Found::Foreign { .. } => None,
        })
    }

    /// As [`Node::find`], for changes that need the volume.
    pub(crate) async fn need(&self, volume: &VolumeId) -> Result<Box<State>, BackendError> {
        self.find(volume).await?.ok_or_else(|| BackendError::NoSuchVolume(volume.clone()))
    }

    /// Has the pool make the changes if every volume is still what it was when it was read.
    pub(crate) async fn commit(
        &self,
        action: &str,
        changes: Vec<(&VolumeId, &State, Effect)>,
    ) -> Result<Said, BackendError> {
        let Some((first, ..)) = changes.first() else { return Ok(Said::Done) };
        let about = self.about(action, first);
        let volumes: Map = changes
            .iter()
            .map(|(volume, state, change)| (self.dataset(volume), wanted(state, change).into()))
            .collect();
        let arguments =
            Map::from([("volumes".to_owned(), volumes.into()), ("mark".to_owned(), MARK.into())]);
        let program =
            concat!(include_str!("programs/own.lua"), include_str!("programs/commit.lua"));
        let answer = self.program(program, true, arguments).await;
        let answer = answer.map_err(|error| about.explain(error))?;
        let text = |name: &str| answer.get(name).and_then(Value::text).unwrap_or_default();
        match text("outcome") {
            "done" => Ok(Said::Done),
            "changed" => Ok(Said::Changed),
            "written" => Ok(Said::Written),
            "refused" => Err(self.refused(&about, &answer)),
            other => Err(about.failed(format!("the pool answered `{other}`"))),
        }
    }

    /// What it means that the pool could not do a part of a change.
    pub(crate) fn refused(&self, about: &About<'_>, answer: &Map) -> BackendError {
        let errno = answer.get("errno").and_then(Value::number).unwrap_or_default();
        let errno = i32::try_from(errno).unwrap_or_default();
        let failure = flocker_zfs_wire::Failure::of(errno);
        let object = answer.get("object").and_then(Value::text).unwrap_or_default();
        let holder = format!("`{object}`: {}", describe(&failure));
        match rustix::io::Errno::from_raw_os_error(errno) {
            rustix::io::Errno::BUSY | rustix::io::Errno::EXIST => {
                BackendError::Busy { volume: about.volume.clone(), holder }
            }
            rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT => {
                BackendError::PoolFull { pool: self.parent.clone() }
            }
            _ => about.failed(holder),
        }
    }

    /// Decides by what the volume is, has it checked and set in one transaction group, and settles.
    async fn change(
        &self,
        action: &str,
        volume: &VolumeId,
        decide: impl Fn(&State) -> Result<Step, BackendError> + Send + Sync,
    ) -> Result<Change, BackendError> {
        let change = self.decide(action, volume, decide).await?;
        self.settle(volume).await?;
        Ok(change)
    }

    /// As [`Node::change`], without settling.
    pub(crate) async fn decide(
        &self,
        action: &str,
        volume: &VolumeId,
        decide: impl Fn(&State) -> Result<Step, BackendError> + Send + Sync,
    ) -> Result<Change, BackendError> {
        for _ in 0..TRIES {
            let state = self.need(volume).await?;
            let (label, newest) = match decide(&state)? {
                Step::Keep => return Ok(Change::None),
                Step::Set(label) => (label, None),
                Step::SetAt(label, at) => (label, Some(at)),
            };
            let change = Effect { set: Some(label), newest: newest.clone(), ..Effect::default() };
            match self.commit(action, vec![(volume, &*state, change)]).await? {
                Said::Done => return Ok(Change::Made),
                Said::Changed => {}
                Said::Written => {
                    return Err(BackendError::Diverged {
                        volume: volume.clone(),
                        expected: newest.map(|at| at.tag.to_string()).unwrap_or_default(),
                        found: "writes after it".to_owned(),
                    });
                }
            }
        }
        Err(self.restless(action, volume))
    }

    pub(crate) fn restless(&self, action: &str, volume: &VolumeId) -> BackendError {
        self.about(action, volume).failed("somebody else changes it all the time".to_owned())
    }

    pub(crate) async fn create(
        &self,
        op: &Op,
        volume: &VolumeId,
        options: &VolumeOptions,
        owner: Option<(u32, u32)>,
    ) -> Result<Change, BackendError> {
        let action = "could not create";
        if self.is_made(action, op, volume).await? {
            return Ok(Change::None);
        }
        let label = Label { want: Want::Making, epoch: op.epoch, size: options.size };
        let about = self.about(action, volume);
        let dataset = self.dataset(volume);
        let mut properties = writable(&label, options, ByteSize(0));
        let key = match &options.secret {
            Some(secret) => {
                properties.extend(encryption());
                Some(self.key(volume, secret).await?)
            }
            None => None,
        };
        let create = Call::Create { name: dataset.clone(), properties, key };
        self.helper.call(create).await.map_err(|error| about.explain(error))?;
        let (id, folder) = (volume.clone(), self.folder(volume));
        self.files("could not fill a new volume", &folder, move |folder| {
            mount::mount(&dataset, folder)?;
            fill(folder, &id, owner)
        })
        .await?;
        self.make_live(action, volume).await
    }

    /// Whether it was made under this epoch already. What is left of an earlier attempt, or of an earlier volume of this id,
    /// is removed.
    pub(crate) async fn is_made(
        &self,
        action: &str,
        op: &Op,
        volume: &VolumeId,
    ) -> Result<bool, BackendError> {
        match self.look(volume).await? {
            Found::Absent => Ok(false),
            Found::Foreign { .. } => Err(self.foreign(action, volume)),
            Found::Ours(state) => match state.label.want {
                Want::Role(_) => {
                    plan::create(op, volume, &state)?;
                    self.settle(volume).await?;
                    Ok(true)
                }
                Want::Making | Want::Gone => match self.remove(volume, &state).await? {
                    None => Ok(false),
                    Some(holder) => Err(BackendError::Busy { volume: volume.clone(), holder }),
                },
            },
        }
    }

    /// A volume that was being made counts from now on. What was written to it reaches the disk no later than this.
    pub(crate) async fn make_live(
        &self,
        action: &str,
        volume: &VolumeId,
    ) -> Result<Change, BackendError> {
        let Found::Ours(state) = self.look(volume).await? else {
            return Err(self.restless(action, volume));
        };
        let live = Label { want: Want::Role(Role::Live), ..state.label };
        let change = Effect { set: Some(live), ..Effect::default() };
        match self.commit(action, vec![(volume, &*state, change)]).await? {
            Said::Done => Ok(Change::Made),
            Said::Changed | Said::Written => Err(self.restless(action, volume)),
        }
    }

    pub(crate) fn foreign(&self, action: &str, volume: &VolumeId) -> BackendError {
        let dataset = self.dataset(volume);
        self.about(action, volume).failed(format!(
            "`{dataset}` is there already, and was not made by flocker\nhint: give it another name with `zfs rename`"
        ))
    }

    pub(crate) async fn resize(
        &self,
        op: &Op,
        volume: &VolumeId,
        size: ByteSize,
    ) -> Result<Change, BackendError> {
        self.change("could not resize", volume, |state| plan::resize(op, volume, state, size)).await
    }

    pub(crate) async fn destroy(&self, op: &Op, volume: &VolumeId) -> Result<Change, BackendError> {
        let change = match self.find(volume).await? {
            None => Change::None,
            Some(state) => {
                plan::destroy(op, volume, &state)?;
                self.entry(volume).slot.stop().await;
                let decide = |state: &State| plan::destroy(op, volume, state);
                match self.decide("could not destroy", volume, decide).await {
                    Err(BackendError::NoSuchVolume(_)) => Change::None,
                    decided => decided?,
                }
            }
        };
        self.settle(volume).await?;
        Ok(change)
    }

    pub(crate) async fn attach(
        &self,
        op: &Op,
        volume: &VolumeId,
    ) -> Result<Attachment, BackendError> {
        plan::attach(op, volume, &*self.need(volume).await?)?;
        // What an earlier change decided and could not finish is finished first.
        self.settle(volume).await?;
        let (dataset, folder, id) = (self.dataset(volume), self.folder(volume), volume.clone());
        self.files(&format!("could not attach volume `{volume}`"), &folder, move |folder| {
            mount::mount(&dataset, folder)?;
            check_marker(folder, &id)?;
            let path = data(folder);
            let metadata = fs::metadata(&path)?;
            Ok(Attachment { device: metadata.dev(), inode: metadata.ino(), path })
        })
        .await
    }

    pub(crate) async fn seal(&self, op: &Op, volume: &VolumeId) -> Result<Change, BackendError> {
        let decide = |state: &State| plan::seal(op, volume, state);
        let change = self.decide("could not seal", volume, decide).await?;
        // What was written through memory may still be on its way, and nothing of a read-only filesystem is flushed.
        self.flush(volume).await?;
        self.settle(volume).await?;
        Ok(change)
    }

    /// Waits until all that was written to a mounted volume is in the pool.
    async fn flush(&self, volume: &VolumeId) -> Result<(), BackendError> {
        let (dataset, folder) = (self.dataset(volume), self.folder(volume));
        self.files(&format!("could not flush volume `{volume}`"), &folder, move |folder| {
            if mount::is_mounted(&dataset, folder)? {
                rustix::fs::syncfs(File::open(folder)?)?;
            }
            Ok(())
        })
        .await
    }

    pub(crate) async fn unseal(&self, op: &Op, volume: &VolumeId) -> Result<Change, BackendError> {
        self.change("could not unseal", volume, |state| plan::unseal(op, volume, state)).await
    }

    pub(crate) async fn promote(
        &self,
        op: &Op,
        volume: &VolumeId,
        at: &Point,
    ) -> Result<Change, BackendError> {
        let state = self.need(volume).await?;
        if plan::promote(op, volume, &state, at)? != Step::Keep {
            // A copy that is promoted in the middle of a receive has no use for what came so far.
            self.entry(volume).slot.stop().await;
            self.discard(volume).await?;
        }
        self.change("could not promote", volume, |state| plan::promote(op, volume, state, at)).await
    }

    pub(crate) async fn retire(
        &self,
        op: &Op,
        volume: &VolumeId,
        at: &Point,
    ) -> Result<Change, BackendError> {
        self.change("could not retire", volume, |state| plan::retire(op, volume, state, at)).await
    }

    pub(crate) async fn stat(
        &self,
        volume: &VolumeId,
    ) -> Result<Option<VolumeState>, BackendError> {
        if let Some(said) = self.said_while_rolling(volume) {
            return Ok(said);
        }
        let found = self.find(volume).await?;
        Ok(found.and_then(|state| volume_state(volume, &state.label, state.referenced)))
    }

    /// Every volume that can be read. A damaged one is left out here and is an error in `stat`: it must not make the others
    /// unknown, and nobody takes its absence for leave to make it anew, since `create` refuses too.
    pub(crate) async fn volumes(&self) -> Result<Vec<VolumeState>, BackendError> {
        let text = run(&self.zfs, &list_volumes(&self.parent)).await.map_err(|reason| {
            let action = format!("could not list the volumes below `{}`", self.parent);
            BackendError::Failed { action, reason }
        })?;
        let mut volumes = Vec::new();
        for listed in parse_volumes(&self.parent, &text) {
            match listed.label {
                Ok(label) => {
                    volumes.extend(volume_state(&listed.volume, &label, listed.referenced));
                }
                Err(reason) => tracing::error!(volume = %listed.volume, "{reason}"),
            }
        }
        self.say_while_rolling(&mut volumes);
        Ok(volumes)
    }
}

pub(crate) fn volume_state(
    volume: &VolumeId,
    label: &Label,
    used: ByteSize,
) -> Option<VolumeState> {
    match label.want {
        Want::Role(role) => {
            let (epoch, size) = (label.epoch, label.size);
            Some(VolumeState { id: volume.clone(), role, epoch, size, used })
        }
        Want::Making | Want::Gone => None,
    }
}

/// One volume of a commit, as the program reads it.
fn wanted(state: &State, change: &Effect) -> Map {
    let [(_, role), (_, epoch), _] = state.label.properties();
    let mut want =
        Map::from([("role".to_owned(), role.into()), ("epoch".to_owned(), epoch.into())]);
    let label = change.set.iter().flat_map(Label::properties);
    let rollback = change.rollback.iter().map(|text| ("way", text.clone()));
    let set = label.chain(rollback).map(|(name, value)| (name.to_owned(), value.into()));
    want.insert("set".to_owned(), set.collect::<Map>().into());
    if let Some(newest) = &change.newest {
        want.insert("newest".to_owned(), guid(newest));
    }
    want
}

/// An identity as programs know it: all their numbers have a sign. What is no number is none of ZFS's, and equal to none.
pub(crate) fn guid(point: &Point) -> Value {
    let number = point.guid.0.parse::<u64>();
    number.map_or_else(
        |_| Value::Text(point.guid.0.clone()),
        |guid| Value::Signed(guid.cast_signed()),
    )
}

/// The properties that a volume begins with that is to be live and holds so much already, in the kernel's form.
pub(crate) fn writable(label: &Label, options: &VolumeOptions, holds: ByteSize) -> Map {
    let mut properties = properties(label, options, false);
    properties.insert("refquota".to_owned(), Value::Unsigned(options.size.0.max(holds.0)));
    if options.reserved {
        properties.insert("refreservation".to_owned(), Value::Unsigned(options.size.0));
    }
    properties
}

/// The properties that every dataset of ours begins with, in the kernel's form.
pub(crate) fn properties(label: &Label, options: &VolumeOptions, read_only: bool) -> Map {
    /// `canmount=noauto`: it is mounted by us or not at all.
    const NOAUTO: u64 = 2;
    let secret = options.secret.as_ref().map(|secret| ("secret", secret.to_string()));
    let reserved = options.reserved.then(|| ("reserved", "on".to_owned()));
    let ours = label.properties().into_iter().chain(secret).chain(reserved);
    let ours = ours.map(|(name, value)| (format!("io.flocker:{name}"), value.into()));
    let native = [
        ("canmount", NOAUTO.into()),
        ("mountpoint", "legacy".into()),
        ("atime", Value::Unsigned(0)),
        ("readonly", Value::Unsigned(u64::from(read_only))),
    ];
    let record_size = options.record_size.map(|size| ("recordsize", size.bytes().into()));
    let compression = options.compression.map(|how| ("compression", compression(how).into()));
    let native = native.into_iter().chain(record_size).chain(compression);
    ours.chain(native.map(|(name, value)| (name.to_owned(), value))).collect()
}

/// The kernel's numbers, from `enum zio_compress`.
fn compression(how: Compression) -> u64 {
    match how {
        Compression::Off => 2,
        Compression::Lz4 => 15,
        Compression::Zstd => 16,
    }
}

/// What makes a dataset encrypted with a key that is given to it, in the kernel's form: `aes-256-gcm`, and a key that is
/// written in hexadecimal digits.
fn encryption() -> impl Iterator<Item = (String, Value)> {
    let native = [
        ("encryption", Value::Unsigned(8)),
        ("keyformat", Value::Unsigned(2)),
        ("keylocation", "prompt".into()),
    ];
    native.into_iter().map(|(name, value)| (name.to_owned(), value))
}

/// What containers see of a mounted volume.
fn data(folder: &Path) -> PathBuf {
    folder.join("data")
}

/// The file that proves whose dataset it is. It travels with the data.
pub(crate) fn marker(folder: &Path) -> PathBuf {
    folder.join(".flocker/volume")
}

fn fill(folder: &Path, volume: &VolumeId, owner: Option<(u32, u32)>) -> io::Result<()> {
    let (data, marker) = (data(folder), marker(folder));
    fs::create_dir(&data)?;
    if let Some((user, group)) = owner {
        chown(&data, Some(user), Some(group))?;
    }
    if let Some(folder) = marker.parent() {
        fs::create_dir(folder)?;
    }
    File::create(&marker)?.write_all(volume.as_str().as_bytes())
}

/// Proves that the dataset is the volume's, before anything is mounted from it.
fn check_marker(folder: &Path, volume: &VolumeId) -> io::Result<()> {
    let found = fs::read_to_string(marker(folder))?;
    if found == volume.as_str() {
        return Ok(());
    }
    Err(io::Error::other(format!("it is marked as volume `{found}`")))
}

/// The epoch of a volume that is not there yet, but on its way.
pub(crate) fn refuse_older(
    op: &Op,
    volume: &VolumeId,
    pending: Option<Epoch>,
) -> Result<(), BackendError> {
    pending.map_or(Ok(()), |current| plan::refuse_stale(op, volume, current))
}
