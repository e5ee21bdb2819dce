//! Storage backends as plugins: a component that exports `storage-backend` becomes a [`Backend`].
//!
//! The plugin says where bytes are and remembers what its copies are; the host keeps the rules of the port, mounts what
//! containers see, and moves the bytes. A change never falls back to anything: it is asked for again under the same
//! operation, and then fails with the plugin's name and the call.
//!
//! ```text
//! port -> rules (may it be done?) -> node (typed questions) -> call (guarded, again if it broke) -> the plugin
//!   `---> mounts, send, receive: the host's own part, in folders that the plugin names and the operator granted
//! ```

mod answers;
mod call;
mod commands;
mod copies;
mod devices;
mod folders;
mod given;
mod http;
mod kv;
mod limits;
mod listing;
mod mounts;
mod needs;
mod node;
mod open;
mod questions;
mod receive;
mod rules;
mod secrets;
mod send;
mod state;
mod stream;
mod tree;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::PathBuf,
    sync::{Arc, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use flocker_model::{
    ByteSize, Capacity, Epoch, Point, Role, Snapshot, SnapshotTag, VolumeId, VolumeOptions,
    VolumeState,
};
use flocker_ports::{
    Attachment, Backend, BackendError, ByteStream, Change, Description, Op, Receiver, ResumeToken,
    StoragePlugin, refuse_reserved_and_secret,
};
use tokio::time::timeout;

pub use limits::BackendLimits;
pub(crate) use limits::engine_config as compiling;
pub(crate) use needs::fits;
pub use needs::{BackendNeeds, Need};
pub use open::{BackendConfig, OpenBackendError};

use crate::{
    bindings::backend as bindings,
    load::{self, LoadError},
    plugin::{Health, Loaded},
};
use answers::Way;
use bindings::exports::flocker::plugin::storage_backend as wit;
use devices::Paused;
use mounts::{Frozen, Mounts};
use node::Node;
use questions::{
    Attach, Create, Destroy, DestroySnapshots, Pool, Promote, Resize, Retire, Seal, Unseal,
};

/// The storage of one node, driven by a plugin.
#[derive(Clone)]
pub struct PluginBackend {
    node: Arc<Node>,
    loaded: Loaded,
    path: PathBuf,
    file_bytes_max: u64,
}

/// A backend, for `flocker plugin ls`.
#[derive(Debug, Clone, PartialEq)]
pub struct BackendInfo {
    /// Name, version, digest.
    pub loaded: Loaded,
    /// Whether one of its functions broke it when that was last called.
    pub health: Health,
    /// How often one of its functions was called.
    pub calls: u64,
    /// How often that broke it; requests that it refused are not counted.
    pub failures: u64,
    /// What broke it last.
    pub last_failure: Option<String>,
    /// What it measured itself.
    pub metrics: BTreeMap<String, f64>,
}

impl fmt::Debug for PluginBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PluginBackend").field("plugin", &self.loaded.name).finish_non_exhaustive()
    }
}

impl PluginBackend {
    /// How the plugin stands.
    #[must_use]
    pub fn info(&self) -> BackendInfo {
        let count = self.node.plugin.count();
        let metrics = &self.node.plugin.shared.metrics;
        BackendInfo {
            loaded: self.loaded.clone(),
            health: if count.broken.is_empty() { Health::Good } else { Health::Failing },
            calls: count.calls,
            failures: count.failures,
            last_failure: count.last_failure,
            metrics: metrics.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// Whether its file is another build by now than the one that runs. That one goes on: volumes are in use.
    ///
    /// # Errors
    /// [`LoadError`] when the file cannot be read.
    pub fn is_file_changed(&self) -> Result<bool, LoadError> {
        let read = load::read(&self.path, self.file_bytes_max);
        let bytes = read.map_err(|reason| LoadError { path: self.path.clone(), reason })?;
        Ok(load::digest(&bytes) != self.loaded.digest)
    }

    /// Takes all mounts away. Containers that still see a volume keep it.
    ///
    /// # Errors
    /// The system refused; nothing is lost by a mount that stays.
    pub fn close(&self) -> std::io::Result<()> {
        self.node.mounts.hide_all()
    }
}

/// The longest that writers wait for a snapshot of their device. It is taken in one go, or it is none of a moment.
const PAUSE_MAX: Duration = Duration::from_secs(30);

impl Node {
    /// Whether a change that the plugin answered is what it says later: an answer must be durable and true.
    pub(crate) async fn must_be(
        &self,
        function: &'static str,
        volume: &VolumeId,
        role: Role,
        epoch: Epoch,
    ) -> Result<(), BackendError> {
        let found = self.stat(volume).await?;
        self.checked(function, Some(volume), rules::must_be_now(found.as_ref(), role, epoch))
    }

    async fn snapshot(
        &self,
        op: &Op,
        volumes: &[VolumeId],
        tag: &SnapshotTag,
    ) -> Result<Vec<Snapshot>, BackendError> {
        let Some(first) = volumes.first() else { return Ok(Vec::new()) };
        // One that is named twice has one snapshot.
        let group: BTreeSet<&VolumeId> = volumes.iter().collect();
        let mut live = BTreeSet::new();
        for volume in &group {
            let found = self.need(volume).await?;
            if found.role == Role::Live {
                live.insert(*volume);
            }
            let exists = match found.role {
                Role::Replica => {
                    self.all_snapshots(volume).await?.iter().any(|s| s.point.tag == *tag)
                }
                Role::Live | Role::Sealed => false,
            };
            rules::snapshot(op, &found, exists)?;
        }
        let names: Vec<String> = group.iter().map(ToString::to_string).collect();
        let question = questions::Snapshot { op: self.op(op), names, tag: tag.to_string() };
        let paused = self.pause(op, &live).await?;
        let asked = self.change(op, first, question);
        let answer = if paused.is_empty() {
            asked.await?
        } else {
            let late = |_| {
                self.wrong("snapshot", Some(first), format!("writers waited for {PAUSE_MAX:?}"))
            };
            timeout(PAUSE_MAX, asked).await.map_err(late)??
        };
        drop(paused);
        let taken = answers::taken(group.len(), tag, answer);
        let taken = self.checked("snapshot", Some(first), taken)?;
        let taken: BTreeMap<&VolumeId, Snapshot> = group.into_iter().zip(taken).collect();
        Ok(volumes.iter().filter_map(|volume| taken.get(volume).cloned()).collect())
    }

    /// Holds up the writers of those live volumes that are on devices.
    async fn pause(
        &self,
        op: &Op,
        live: &BTreeSet<&VolumeId>,
    ) -> Result<Vec<Paused>, BackendError> {
        let mut paused = Vec::new();
        for volume in live {
            // After a restart only containers see the volume, and holding them up takes a mount of ours.
            let Some(device) = self.device(op, volume).await? else { continue };
            let pause = move |mounts: &Mounts, volume: &VolumeId| {
                mounts.devices.live(volume, &device, None)?;
                mounts.devices.pause(volume)
            };
            paused.extend(self.mounted("snapshot", volume, pause).await?);
        }
        Ok(paused)
    }

    async fn attach(&self, op: &Op, volume: &VolumeId) -> Result<Attachment, BackendError> {
        rules::attach(op, &self.need(volume).await?)?;
        let answer =
            self.change(op, volume, Attach { op: self.op(op), name: volume.to_string() }).await?;
        match self.checked("attach", Some(volume), answers::way(answer))? {
            Way::Folder(path) => {
                let folder = self.plugin.shared.folders.folder(&path);
                let folder =
                    folder.map_err(|e| self.wrong("attach", Some(volume), e.to_string()))?;
                self.mounted("attach", volume, move |mounts, volume| mounts.show(volume, &folder))
                    .await
            }
            Way::Device(path) => {
                self.may_use("attach", volume, &path)?;
                let show = move |mounts: &Mounts, volume: &VolumeId| {
                    let folder = mounts.devices.live(volume, &path, None)?;
                    mounts.show(volume, &folder)
                };
                self.mounted("attach", volume, show).await
            }
        }
    }

    fn may_use(
        &self,
        function: &'static str,
        volume: &VolumeId,
        device: &str,
    ) -> Result<(), BackendError> {
        let checked = self.mounts.devices.check(device);
        checked.map_err(|e| self.wrong(function, Some(volume), e.to_string()))
    }

    /// Where a volume's bytes are, if that is a device.
    async fn device(&self, op: &Op, volume: &VolumeId) -> Result<Option<String>, BackendError> {
        if !self.mounts.devices.are_granted() {
            return Ok(None);
        }
        let question = Attach { op: self.op(op), name: volume.to_string() };
        let answer = self.change(op, volume, question).await?;
        match self.checked("attach", Some(volume), answers::way(answer))? {
            Way::Folder(_) => Ok(None),
            Way::Device(path) => {
                self.may_use("attach", volume, &path)?;
                Ok(Some(path))
            }
        }
    }

    /// A plugin cannot make a filesystem: a new volume on a device gets one, whose files belong to `owner`.
    async fn prepare(
        &self,
        op: &Op,
        volume: &VolumeId,
        owner: Option<(u32, u32)>,
    ) -> Result<(), BackendError> {
        let Some(device) = self.device(op, volume).await? else { return Ok(()) };
        let live = move |mounts: &Mounts, volume: &VolumeId| {
            mounts.devices.live(volume, &device, owner).map(drop)
        };
        self.mounted("create", volume, live).await
    }

    /// Lets the files of a live volume have the room that its device has got.
    async fn grow(&self, op: &Op, found: &VolumeState) -> Result<(), BackendError> {
        if found.role != Role::Live {
            return Ok(());
        }
        let Some(device) = self.device(op, &found.id).await? else { return Ok(()) };
        let grow = move |mounts: &Mounts, volume: &VolumeId| mounts.devices.grow(volume, &device);
        self.mounted("resize", &found.id, grow).await
    }

    async fn seal(&self, op: &Op, volume: &VolumeId) -> Result<Change, BackendError> {
        let change = rules::seal(op, &self.need(volume).await?)?;
        // First the deed, then the word: a copy that says sealed has no writer.
        let frozen = self.mounted("seal", volume, Mounts::freeze).await?;
        if frozen == Frozen::Held {
            let holder = "a process has a file in it open for writing".to_owned();
            return Err(BackendError::Busy { volume: volume.clone(), holder });
        }
        let folders = Arc::clone(&self.plugin.shared.folders);
        self.blocking("flush", volume, move || folders.flush()).await?;
        if change == Change::Made {
            let sealed =
                self.change(op, volume, Seal { op: self.op(op), name: volume.to_string() }).await;
            if let Err(refused) = sealed {
                self.mounted("unseal", volume, Mounts::thaw).await?;
                return Err(refused);
            }
            self.must_be("seal", volume, Role::Sealed, op.epoch).await?;
        }
        Ok(change)
    }

    async fn unseal(&self, op: &Op, volume: &VolumeId) -> Result<Change, BackendError> {
        let change = rules::unseal(op, &self.need(volume).await?)?;
        if change == Change::Made {
            self.change(op, volume, Unseal { op: self.op(op), name: volume.to_string() }).await?;
            self.must_be("unseal", volume, Role::Live, op.epoch).await?;
        }
        self.mounted("unseal", volume, Mounts::thaw).await?;
        Ok(change)
    }

    async fn promote(
        &self,
        op: &Op,
        volume: &VolumeId,
        at: &Point,
    ) -> Result<Change, BackendError> {
        let found = self.need(volume).await?;
        let change = rules::promote(op, &found)?;
        if change == Change::Made {
            rules::newest_must_be(&found, &self.all_snapshots(volume).await?, at)?;
            self.entry(volume).slot.stop().await;
            self.mounted("promote", volume, Mounts::hide).await?;
            let at = answers::point(at);
            self.change(op, volume, Promote { op: self.op(op), name: volume.to_string(), at })
                .await?;
            self.must_be("promote", volume, Role::Live, op.epoch).await?;
            self.discard(volume).await?;
        }
        Ok(change)
    }

    async fn retire(&self, op: &Op, volume: &VolumeId, at: &Point) -> Result<Change, BackendError> {
        let found = self.need(volume).await?;
        let change = rules::retire(op, &found)?;
        if change == Change::Made {
            rules::newest_must_be(&found, &self.all_snapshots(volume).await?, at)?;
            let at = answers::point(at);
            self.change(op, volume, Retire { op: self.op(op), name: volume.to_string(), at })
                .await?;
            self.must_be("retire", volume, Role::Replica, op.epoch).await?;
        }
        self.mounted("retire", volume, Mounts::hide).await?;
        Ok(change)
    }

    async fn destroy(&self, op: &Op, volume: &VolumeId) -> Result<Change, BackendError> {
        let found = self.stat(volume).await?;
        if let Some(found) = &found {
            rules::refuse_stale(op, found)?;
        }
        let entry = self.entry(volume);
        entry.refuse_while_read(volume, |_| true)?;
        entry.slot.stop().await;
        self.mounted("destroy", volume, Mounts::hide).await?;
        // Also where there is none any more: a crash may have left folders of the plugin's, or bytes of ours.
        self.change(op, volume, Destroy { op: self.op(op), name: volume.to_string() }).await?;
        self.discard(volume).await?;
        if self.stat(volume).await?.is_some() {
            let reason = "it said that the volume is gone, but it is there".to_owned();
            return Err(self.wrong("destroy", Some(volume), reason));
        }
        Ok(if found.is_some() { Change::Made } else { Change::None })
    }

    async fn destroy_snapshots(
        &self,
        op: &Op,
        volume: &VolumeId,
        which: &[Point],
    ) -> Result<Change, BackendError> {
        rules::refuse_stale(op, &self.need(volume).await?)?;
        // Looked up now, not when the caller decided: the name may have been taken by another snapshot since.
        let snapshots = self.all_snapshots(volume).await?;
        let doomed: Vec<&Point> =
            snapshots.iter().map(|s| &s.point).filter(|point| which.contains(point)).collect();
        if doomed.is_empty() {
            return Ok(Change::None);
        }
        let is_doomed = |guid: &_| doomed.iter().any(|point| point.guid == *guid);
        self.entry(volume).refuse_while_read(volume, is_doomed)?;
        let which: Vec<wit::Point> = doomed.into_iter().map(answers::point).collect();
        self.change(
            op,
            volume,
            DestroySnapshots { op: self.op(op), name: volume.to_string(), which },
        )
        .await?;
        Ok(Change::Made)
    }
}

#[async_trait]
impl Backend for PluginBackend {
    fn describe(&self) -> Description {
        self.node.description.clone()
    }

    fn plugin(&self) -> Option<StoragePlugin> {
        let BackendInfo { loaded, health, calls, failures, last_failure, .. } = self.info();
        let Loaded { name, version, digest, .. } = loaded;
        let failing = health != Health::Good;
        let trouble = last_failure;
        Some(StoragePlugin { name, version, digest, failing, trouble, calls, failures })
    }

    fn troubles(&self) -> Vec<String> {
        let (name, broken) = (&self.loaded.name, self.node.plugin.count().broken);
        let trouble = |(function, how)| {
            format!("storage plugin `{name}` broke when `{function}` was last called: {how}")
        };
        broken.into_iter().map(trouble).collect()
    }

    async fn capacity(&self) -> Result<Capacity, BackendError> {
        let answer = self.node.look(None, Pool {}).await?;
        self.node.checked("pool", None, answers::capacity(&answer))
    }

    async fn volumes(&self) -> Result<Vec<VolumeState>, BackendError> {
        self.node.all_volumes().await
    }

    async fn stat(&self, volume: &VolumeId) -> Result<Option<VolumeState>, BackendError> {
        self.node.stat(volume).await
    }

    async fn create(
        &self,
        op: &Op,
        volume: &VolumeId,
        options: &VolumeOptions,
        owner: Option<(u32, u32)>,
    ) -> Result<Change, BackendError> {
        refuse_reserved_and_secret(&self.node.description.driver, options)?;
        let _turn = self.node.turn(volume).await;
        if let Some(found) = self.node.stat(volume).await? {
            let change = rules::create(op, &found)?;
            // A crash may have come before it had its filesystem.
            self.node.prepare(op, volume, owner).await?;
            return Ok(change);
        }
        let files_of = owner;
        let owner = owner.map(|(user, group)| wit::Owner { user, group });
        self.node
            .change(
                op,
                volume,
                Create {
                    op: self.node.op(op),
                    name: volume.to_string(),
                    size: options.size.0,
                    owner,
                },
            )
            .await?;
        self.node.must_be("create", volume, Role::Live, op.epoch).await?;
        self.node.prepare(op, volume, files_of).await?;
        Ok(Change::Made)
    }

    async fn resize(
        &self,
        op: &Op,
        volume: &VolumeId,
        size: ByteSize,
    ) -> Result<Change, BackendError> {
        let _turn = self.node.turn(volume).await;
        let found = self.node.need(volume).await?;
        rules::resize(op, &found)?;
        if found.size == size {
            // A crash may have come before its filesystem had the room.
            self.node.grow(op, &found).await?;
            return Ok(Change::None);
        }
        self.node
            .change(
                op,
                volume,
                Resize { op: self.node.op(op), name: volume.to_string(), size: size.0 },
            )
            .await?;
        self.node.grow(op, &found).await?;
        Ok(Change::Made)
    }

    async fn destroy(&self, op: &Op, volume: &VolumeId) -> Result<Change, BackendError> {
        let _turn = self.node.turn(volume).await;
        self.node.destroy(op, volume).await
    }

    async fn snapshot(
        &self,
        op: &Op,
        volumes: &[VolumeId],
        tag: &SnapshotTag,
    ) -> Result<Vec<Snapshot>, BackendError> {
        // Always in the same order, so that two callers never wait for each other.
        let mut ordered: Vec<&VolumeId> = volumes.iter().collect();
        ordered.sort();
        ordered.dedup();
        let mut turns = Vec::with_capacity(ordered.len());
        for volume in ordered {
            turns.push(self.node.turn(volume).await);
        }
        self.node.snapshot(op, volumes, tag).await
    }

    async fn snapshots(&self, volume: &VolumeId) -> Result<Vec<Snapshot>, BackendError> {
        self.node.need(volume).await?;
        self.node.all_snapshots(volume).await
    }

    async fn destroy_snapshots(
        &self,
        op: &Op,
        volume: &VolumeId,
        which: &[Point],
    ) -> Result<Change, BackendError> {
        let _turn = self.node.turn(volume).await;
        self.node.destroy_snapshots(op, volume, which).await
    }

    async fn attach(&self, op: &Op, volume: &VolumeId) -> Result<Attachment, BackendError> {
        let _turn = self.node.turn(volume).await;
        self.node.attach(op, volume).await
    }

    async fn seal(&self, op: &Op, volume: &VolumeId) -> Result<Change, BackendError> {
        let _turn = self.node.turn(volume).await;
        self.node.seal(op, volume).await
    }

    async fn unseal(&self, op: &Op, volume: &VolumeId) -> Result<Change, BackendError> {
        let _turn = self.node.turn(volume).await;
        self.node.unseal(op, volume).await
    }

    async fn promote(
        &self,
        op: &Op,
        volume: &VolumeId,
        at: &Point,
    ) -> Result<Change, BackendError> {
        let _turn = self.node.turn(volume).await;
        self.node.promote(op, volume, at).await
    }

    async fn retire(&self, op: &Op, volume: &VolumeId, at: &Point) -> Result<Change, BackendError> {
        let _turn = self.node.turn(volume).await;
        self.node.retire(op, volume, at).await
    }

    async fn send(
        &self,
        volume: &VolumeId,
        base: Option<&Point>,
        to: &Point,
        resume: Option<&ResumeToken>,
    ) -> Result<ByteStream, BackendError> {
        self.node.send(volume, base, to, resume).await
    }

    async fn receive(
        &self,
        op: &Op,
        volume: &VolumeId,
        base: Option<&Point>,
        to: &Point,
        options: &VolumeOptions,
    ) -> Result<Box<dyn Receiver>, BackendError> {
        let _turn = self.node.turn(volume).await;
        refuse_reserved_and_secret(&self.node.description.driver, options)?;
        self.node.receive(op, volume, base, to, options.size).await
    }

    async fn abort_receive(&self, op: &Op, volume: &VolumeId) -> Result<Change, BackendError> {
        let _turn = self.node.turn(volume).await;
        self.node.abort_receive(op, volume).await
    }
}
