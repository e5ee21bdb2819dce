//! The plugin as the port's verbs need it: typed questions, checked answers, errors that name the plugin and the call.

use std::{
    collections::HashMap,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use flocker_model::{Guid, Point, Snapshot, VolumeId, VolumeState};
use flocker_ports::{BackendError, Description, Op};
use tokio::sync::OwnedMutexGuard;

use super::{
    answers::{self, Wrong},
    bindings::exports::flocker::plugin::storage_backend as wit,
    call::{Failure, Plugin},
    copies::{CODE_FULL, is_full},
    mounts::Mounts,
    questions::{Ask, Stat},
    receive::Slot,
};

const CODE_STALE: u32 = 10;
const CODE_BUSY: u32 = 11;
const CODE_DIVERGED: u32 = 13;

/// The plugin, and what the host keeps beside it.
pub(crate) struct Node {
    pub(crate) plugin: Plugin,
    pub(crate) description: Description,
    pub(crate) mounts: Arc<Mounts>,
    /// Streams that are not complete yet.
    pub(crate) incoming: PathBuf,
    volumes: Mutex<HashMap<VolumeId, Arc<Entry>>>,
}

/// What happens to one volume. Nothing is shared between volumes, so a stuck one holds up no other.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    /// Held by whoever changes the volume.
    changes: Arc<tokio::sync::Mutex<()>>,
    /// The receive under way.
    pub(crate) slot: Slot,
    /// Snapshots that are being read.
    sending: Mutex<Vec<Guid>>,
}

/// A snapshot that must stay while this lives: half of a folder that is being removed reads like a whole one.
pub(crate) struct Reading {
    entry: Arc<Entry>,
    guids: Vec<Guid>,
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut sending = self.entry.sending.lock().unwrap_or_else(PoisonError::into_inner);
        for guid in &self.guids {
            if let Some(at) = sending.iter().position(|other| other == guid) {
                sending.swap_remove(at);
            }
        }
    }
}

impl Entry {
    pub(crate) fn read(self: &Arc<Self>, points: &[&Point]) -> Reading {
        let guids: Vec<_> = points.iter().map(|point| point.guid.clone()).collect();
        let mut sending = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        sending.extend(guids.iter().cloned());
        Reading { entry: Arc::clone(self), guids }
    }

    /// Refuses to take away what is being read.
    pub(crate) fn refuse_while_read(
        &self,
        volume: &VolumeId,
        is_doomed: impl Fn(&Guid) -> bool,
    ) -> Result<(), BackendError> {
        let sending = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        if sending.iter().any(is_doomed) {
            let holder = "a snapshot of it is being sent".to_owned();
            return Err(BackendError::Busy { volume: volume.clone(), holder });
        }
        Ok(())
    }
}

impl Node {
    /// A node whose plugin has not said yet what it is.
    pub(crate) fn new(plugin: Plugin, mounts: Mounts, incoming: PathBuf) -> Self {
        let (driver, pool) = (plugin.shared.name.clone(), String::new());
        let description =
            Description { driver, pool, streams: String::new(), features: Vec::new() };
        Self { plugin, description, mounts: Arc::new(mounts), incoming, volumes: Mutex::default() }
    }

    pub(crate) fn entry(&self, volume: &VolumeId) -> Arc<Entry> {
        // A panic elsewhere cannot leave a map of independent entries half-changed.
        let mut volumes = self.volumes.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(volumes.entry(volume.clone()).or_default())
    }

    /// Waits for its turn to change the volume.
    pub(crate) async fn turn(&self, volume: &VolumeId) -> OwnedMutexGuard<()> {
        let changes = Arc::clone(&self.entry(volume).changes);
        changes.lock_owned().await
    }

    /// Asks for something that changes nothing.
    pub(crate) async fn look<Q: Ask>(
        &self,
        volume: Option<&VolumeId>,
        question: Q,
    ) -> Result<Q::Answer, BackendError> {
        let wall = self.plugin.shared.limits.wall_look;
        let asked = self.plugin.ask(wall, &question).await;
        asked.map_err(|failure| self.failed(Q::FUNCTION, volume, &failure))
    }

    /// Asks for a change. `question` holds the same operation, as [`Node::op`] says it.
    pub(crate) async fn change<Q: Ask>(
        &self,
        op: &Op,
        volume: &VolumeId,
        question: Q,
    ) -> Result<Q::Answer, BackendError> {
        match self.plugin.ask(self.plugin.shared.limits.wall_change, &question).await {
            Ok(answer) => Ok(answer),
            // Another node was faster, on storage that both reach.
            Err(Failure::Refused { code: CODE_STALE, message }) => match self.stat(volume).await? {
                Some(found) if found.epoch > op.epoch => Err(BackendError::StaleEpoch {
                    volume: volume.clone(),
                    current: found.epoch,
                    asked: op.epoch,
                }),
                _ => Err(self.wrong(Q::FUNCTION, Some(volume), message)),
            },
            Err(failure) => Err(self.failed(Q::FUNCTION, Some(volume), &failure)),
        }
    }

    /// An operation as plugins are told of it.
    pub(crate) fn op(&self, op: &Op) -> wit::Op {
        let limits = &self.plugin.shared.limits;
        let deadline = SystemTime::now() + limits.wall_change * limits.attempts;
        let deadline = deadline.duration_since(UNIX_EPOCH).unwrap_or_default();
        wit::Op {
            id: op.id.to_string(),
            epoch: op.epoch.0,
            deadline_ms: u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX),
            attrs: Vec::new(),
        }
    }

    fn failed(
        &self,
        function: &'static str,
        volume: Option<&VolumeId>,
        failure: &Failure,
    ) -> BackendError {
        match (failure, volume) {
            (Failure::Refused { code: CODE_FULL, .. }, _) => {
                BackendError::PoolFull { pool: self.description.pool.clone() }
            }
            (Failure::Refused { code: CODE_BUSY, message }, Some(volume)) => {
                BackendError::Busy { volume: volume.clone(), holder: message.clone() }
            }
            (Failure::Refused { code: CODE_DIVERGED, message }, Some(volume)) => {
                BackendError::Diverged {
                    volume: volume.clone(),
                    expected: "all that it holds".to_owned(),
                    found: message.clone(),
                }
            }
            (failure, volume) => self.blame(function, volume, failure.to_string()),
        }
    }

    /// The plugin did not do what it should, though it answered: that counts as a failure of the call.
    pub(crate) fn wrong(
        &self,
        function: &'static str,
        volume: Option<&VolumeId>,
        reason: String,
    ) -> BackendError {
        self.plugin.note_wrong(function, &reason);
        self.blame(function, volume, reason)
    }

    fn blame(&self, function: &str, volume: Option<&VolumeId>, reason: String) -> BackendError {
        let about = volume.map(|volume| format!(" volume `{volume}`")).unwrap_or_default();
        let plugin = &self.plugin.shared.name;
        BackendError::Failed {
            action: format!("plugin `{plugin}` failed at `{function}`{about}"),
            reason,
        }
    }

    pub(crate) fn checked<T>(
        &self,
        function: &'static str,
        volume: Option<&VolumeId>,
        answer: Result<T, Wrong>,
    ) -> Result<T, BackendError> {
        answer.map_err(|wrong| self.wrong(function, volume, wrong))
    }

    /// What the host's own work on a volume's files ended with.
    pub(crate) fn io(&self, action: &str, volume: &VolumeId, error: &io::Error) -> BackendError {
        if is_full(error) {
            return BackendError::PoolFull { pool: self.description.pool.clone() };
        }
        let hint = if error.kind() == io::ErrorKind::PermissionDenied {
            "\nhint: mounts and owners need root"
        } else {
            ""
        };
        BackendError::Failed {
            action: format!("could not {action} volume `{volume}`"),
            reason: format!("{error}{hint}"),
        }
    }

    /// Works on files away from the threads that serve everybody: a disk may take its time.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        action: &str,
        volume: &VolumeId,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, BackendError> {
        let done = tokio::task::spawn_blocking(work).await.map_err(io::Error::other).flatten();
        done.map_err(|error| self.io(action, volume, &error))
    }

    /// Works on the volume's mount.
    pub(crate) async fn mounted<T: Send + 'static>(
        &self,
        action: &str,
        volume: &VolumeId,
        work: impl FnOnce(&Mounts, &VolumeId) -> io::Result<T> + Send + 'static,
    ) -> Result<T, BackendError> {
        let (mounts, id) = (Arc::clone(&self.mounts), volume.clone());
        self.blocking(action, volume, move || work(&mounts, &id)).await
    }

    pub(crate) async fn stat(
        &self,
        volume: &VolumeId,
    ) -> Result<Option<VolumeState>, BackendError> {
        let answer = self.look(Some(volume), Stat { names: vec![volume.to_string()] }).await?;
        self.checked("stat", Some(volume), answers::stat(volume, answer))
    }

    /// As [`Node::stat`], for changes that need the volume.
    pub(crate) async fn need(&self, volume: &VolumeId) -> Result<VolumeState, BackendError> {
        self.stat(volume).await?.ok_or_else(|| BackendError::NoSuchVolume(volume.clone()))
    }

    /// The snapshot of this identity, by the name that it has here.
    pub(crate) fn find(
        &self,
        volume: &VolumeId,
        snapshots: &[Snapshot],
        point: &Point,
    ) -> Result<Point, BackendError> {
        let found = snapshots.iter().find(|snapshot| snapshot.point.guid == point.guid);
        found.map(|snapshot| snapshot.point.clone()).ok_or_else(|| BackendError::NoSuchSnapshot {
            volume: volume.clone(),
            tag: point.tag.clone(),
        })
    }
}
