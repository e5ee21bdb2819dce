//! Receiving: bytes go to a file beside the pool, and nothing is done with them before all of them are verified.
//!
//! ```text
//! receive --> (write)* --> finish: hash is right -> base copied -> steps done -> flushed -> the plugin makes it count
//!                |
//!                +-- dropped, killed, power cut: the file stays, and the next `receive` goes on with it
//! ```

use std::{
    fs::{self, File},
    io::{self, BufReader, Seek},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
};

use async_trait::async_trait;
use bytes::Bytes;
use flocker_model::{ByteSize, Point, Role, Snapshot, VolumeId};
use flocker_ports::{BackendError, Change, HereAlready, Op, Receiver, ResumeToken};
use serde::{Deserialize, Serialize};
use tokio::{io::AsyncWriteExt, sync::Mutex};

use super::{
    answers::{self, Way},
    bindings::exports::flocker::plugin::storage_backend::Transfer,
    copies::{build, copy_into, refuse_given_up},
    folders::{Folders, Place},
    kv::replace,
    node::Node,
    questions::{AbortReceive, FinishReceive, PlanReceive},
    rules,
    stream::{self, Damage},
    tree::{self, Source},
};

/// The receive under way for one volume; a new one, an abort or a promotion takes the place of an old one.
#[derive(Debug, Default)]
pub(crate) struct Slot(Mutex<Session>);

#[derive(Debug, Default)]
struct Session {
    /// Grows with each receive; whoever has an older number was replaced.
    number: u64,
    file: Option<tokio::fs::File>,
}

impl Slot {
    /// Ends what is under way and keeps its bytes.
    pub(crate) async fn stop(&self) {
        let mut session = self.0.lock().await;
        session.number += 1;
        if let Some(mut file) = session.file.take() {
            // A write that was given up goes on behind our back, and must not end after the next receive has looked.
            let _ = file.flush().await;
        }
    }

    async fn begin(&self, file: tokio::fs::File) -> u64 {
        let mut session = self.0.lock().await;
        session.number += 1;
        session.file = Some(file);
        session.number
    }
}

/// Which stream the kept bytes belong to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct About {
    version: u32,
    base: Option<String>,
    to: String,
    tag: String,
}

/// The bytes of one volume's unfinished stream. They are not flushed: a prefix that a power cut damaged has another hash
/// than the sender's, and the stream is then sent from its beginning.
#[derive(Debug, Clone)]
struct Spool(PathBuf);

impl Spool {
    fn bytes(&self) -> PathBuf {
        self.0.join("stream")
    }

    /// Makes it ready for a stream; bytes of another one are thrown away. Answers how far it has come.
    fn prepare(&self, about: &About) -> io::Result<Option<(u64, blake3::Hash)>> {
        fs::create_dir_all(&self.0)?;
        let path = self.0.join("about.json");
        let found = fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        if found.as_ref() != Some(about) {
            gone_is_fine(fs::remove_file(self.bytes()))?;
            replace(&path, &serde_json::to_vec(about)?)?;
            return Ok(None);
        }
        let mut hasher = blake3::Hasher::new();
        match File::open(self.bytes()) {
            Ok(mut file) => {
                io::copy(&mut file, &mut hasher)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok((hasher.count() > 0).then(|| (hasher.count(), hasher.finalize())))
    }

    /// Answers whether there was one.
    fn remove(&self) -> io::Result<bool> {
        match fs::remove_dir_all(&self.0) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn gone_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// How far a receiver has come, and the hash of what it has.
pub(crate) fn decode(token: &ResumeToken) -> Result<(u64, blake3::Hash), BackendError> {
    let parts = token.0.split_once(':');
    parts
        .and_then(|(offset, hash)| Some((offset.parse().ok()?, blake3::Hash::from_hex(hash).ok()?)))
        .ok_or_else(|| BackendError::CannotResume {
            reason: format!("`{}` is no resume token of a plugin's backend", token.0),
        })
}

/// The port's receiver.
struct PluginReceiver {
    node: Arc<Node>,
    op: Op,
    volume: VolumeId,
    base: Option<Point>,
    to: Point,
    /// Where the plugin wants it, and where it has the base.
    way: Way,
    base_way: Option<Way>,
    held: Option<(u64, blake3::Hash)>,
    number: u64,
}

impl std::fmt::Debug for PluginReceiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (volume, to) = (&self.volume, &self.to);
        f.debug_struct("PluginReceiver")
            .field("volume", volume)
            .field("to", to)
            .finish_non_exhaustive()
    }
}

impl Node {
    fn spool(&self, volume: &VolumeId) -> Spool {
        Spool(self.incoming.join(volume.as_str()))
    }

    pub(crate) async fn receive(
        self: &Arc<Self>,
        op: &Op,
        volume: &VolumeId,
        base: Option<&Point>,
        to: &Point,
        size: ByteSize,
    ) -> Result<Box<dyn Receiver>, BackendError> {
        let snapshots = match self.stat(volume).await? {
            Some(found) => {
                rules::receive(op, &found)?;
                self.all_snapshots(volume).await?
            }
            None => Vec::new(),
        };
        let base = base.map(|base| self.find(volume, &snapshots, base)).transpose()?;
        if let Some(here) = snapshots.iter().find(|s| s.point.guid == to.guid) {
            return Ok(Box::new(HereAlready(here.clone())));
        }
        if let Some(other) = snapshots.iter().find(|s| s.point.tag == to.tag) {
            return Err(BackendError::Diverged {
                volume: volume.clone(),
                expected: format!("{} {}", to.tag, to.guid),
                found: format!("{} {}", other.point.tag, other.point.guid),
            });
        }
        let entry = self.entry(volume);
        entry.slot.stop().await;
        let plan = self.plan_receive(op, volume, base.as_ref(), to, size).await?;
        self.must_be("plan-receive", volume, Role::Replica, op.epoch).await?;
        let way = self.checked("plan-receive", Some(volume), answers::way(plan.via))?;
        // Asked for again when the stream is complete; a path that leads nowhere is refused before the first byte.
        let place = match &way {
            Way::Folder(path) => self.plugin.shared.folders.place(path).map(drop),
            Way::Device(path) => self.mounts.devices.check(path),
        };
        place.map_err(|e| self.wrong("plan-receive", Some(volume), e.to_string()))?;
        let base_way = self.base_way("plan-receive", volume, base.is_some(), plan.base)?;
        let (spool, bytes) = (self.spool(volume), self.spool(volume).bytes());
        let guid = base.as_ref().map(|base| base.guid.0.clone());
        let about =
            About { version: 1, base: guid, to: to.guid.0.clone(), tag: to.tag.to_string() };
        let held = self.blocking("receive", volume, move || spool.prepare(&about)).await?;
        let file = tokio::fs::File::options().create(true).append(true).open(&bytes).await;
        let file = file.map_err(|error| self.io("receive", volume, &error))?;
        let number = entry.slot.begin(file).await;
        let (node, op) = (Arc::clone(self), op.clone());
        let (volume, to) = (volume.clone(), to.clone());
        let receiver = PluginReceiver { node, op, volume, base, to, way, base_way, held, number };
        Ok(Box::new(receiver))
    }

    async fn plan_receive(
        &self,
        op: &Op,
        volume: &VolumeId,
        base: Option<&Point>,
        to: &Point,
        size: ByteSize,
    ) -> Result<Transfer, BackendError> {
        let (base, to) = (base.map(answers::point), answers::point(to));
        self.change(
            op,
            volume,
            PlanReceive { op: self.op(op), name: volume.to_string(), base, to, size: size.0 },
        )
        .await
    }

    /// Under the volume's turn.
    pub(crate) async fn abort_receive(
        &self,
        op: &Op,
        volume: &VolumeId,
    ) -> Result<Change, BackendError> {
        // Also where there is none any more: a crash may have left folders of the plugin's, or bytes of ours.
        let found = self.stat(volume).await?;
        if let Some(found) = &found {
            rules::refuse_stale(op, found)?;
            if found.role != Role::Replica {
                return Ok(Change::None);
            }
        }
        self.entry(volume).slot.stop().await;
        let done = self
            .change(op, volume, AbortReceive { op: self.op(op), name: volume.to_string() })
            .await?;
        let discarded = self.discard(volume).await?;
        let changed = found.is_some() && (done.changed || discarded);
        Ok(if changed { Change::Made } else { Change::None })
    }

    /// Throws the bytes of an unfinished stream away. Answers whether there were any.
    pub(crate) async fn discard(&self, volume: &VolumeId) -> Result<bool, BackendError> {
        let spool = self.spool(volume);
        self.blocking("discard an unfinished stream of", volume, move || spool.remove()).await
    }
}

impl PluginReceiver {
    fn replaced(&self) -> BackendError {
        BackendError::Busy {
            volume: self.volume.clone(),
            holder: "another receive, an abort or a promotion took the place of this stream"
                .to_owned(),
        }
    }

    /// Makes the tree where the plugin wants it. Answers the bytes in it.
    async fn build(&self) -> Result<u64, BackendError> {
        let bytes = self.node.spool(&self.volume).bytes();
        let shared = &self.node.plugin.shared;
        let (way, base_way) = (self.way.clone(), self.base_way.clone());
        let (to, base) = (self.to.clone(), self.base.clone());
        let (node, volume) = (Arc::clone(&self.node), self.volume.clone());
        let build = move |folders: &Folders, _: &str, given_up: &AtomicBool| {
            let place = match &way {
                Way::Folder(path) => folders.place(path)?,
                Way::Device(path) => node.mounts.devices.place(&volume, path)?,
            };
            let base_folder = base_way.map(|way| node.folder(&way)).transpose()?;
            // Of an attempt whose last answer was lost.
            tree::remove(&place.parent, &place.leaf)?;
            build_tree(&bytes, &place, base_folder, (&to, base.as_ref()), given_up)
        };
        match shared.copies.work(&shared.folders, self.way.path().to_owned(), build).await {
            Ok(bytes) => Ok(bytes),
            Err(Damage::Stream(reason)) => {
                self.node.discard(&self.volume).await?;
                Err(BackendError::CorruptStream { reason })
            }
            Err(Damage::Disk(error)) => {
                let error = self.node.io("receive", &self.volume, &error);
                if matches!(error, BackendError::PoolFull { .. }) {
                    // What was kept for a resume may be a part of what fills the disk.
                    self.node.discard(&self.volume).await?;
                }
                Err(error)
            }
        }
    }
}

impl From<io::Error> for Damage {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

fn build_tree(
    bytes: &Path,
    place: &Place,
    base_folder: Option<OwnedFd>,
    (to, base): (&Point, Option<&Point>),
    given_up: &AtomicBool,
) -> Result<u64, Damage> {
    let mut file = File::open(bytes)?;
    let length = file.metadata()?.len();
    stream::verify(&mut BufReader::new(&file), length)?;
    file.rewind()?;
    build(place, |builder| {
        if let Some(base) = base_folder {
            copy_into(builder, (base, Source::Still), given_up)?;
        }
        let steps = &mut BufReader::with_capacity(1 << 20, &file);
        stream::read(steps, to, base, &mut |record| {
            refuse_given_up(given_up)?;
            builder.apply(record)
        })
    })
}

#[async_trait]
impl Receiver for PluginReceiver {
    fn resume_token(&self) -> Option<ResumeToken> {
        self.held.map(|(offset, hash)| ResumeToken(format!("{offset}:{hash}")))
    }

    fn held(&self) -> ByteSize {
        ByteSize(self.held.map_or(0, |(offset, _)| offset))
    }

    async fn write(&mut self, chunk: Bytes) -> Result<(), BackendError> {
        let entry = self.node.entry(&self.volume);
        let mut session = entry.slot.0.lock().await;
        if session.number != self.number {
            return Err(self.replaced());
        }
        let Some(file) = session.file.as_mut() else { return Err(self.replaced()) };
        let written = async {
            file.write_all(&chunk).await?;
            // tokio's files write behind our back; a later resume must not find less than was taken.
            file.flush().await
        };
        let written = written.await;
        // Not the pool's: unfinished streams are kept in the host's own folder.
        written.map_err(|error| BackendError::Failed {
            action: format!(
                "could not keep a part of the stream of volume `{}` in `{}`",
                self.volume,
                self.node.incoming.display()
            ),
            reason: error.to_string(),
        })
    }

    async fn finish(self: Box<Self>) -> Result<Snapshot, BackendError> {
        let _turn = self.node.turn(&self.volume).await;
        let entry = self.node.entry(&self.volume);
        if entry.slot.0.lock().await.number != self.number {
            return Err(self.replaced());
        }
        let found = self.node.need(&self.volume).await?;
        rules::receive(&self.op, &found)?;
        let bytes = self.build().await?;
        let (volume, to) = (&self.volume, answers::point(&self.to));
        let answer = self
            .node
            .change(
                &self.op,
                volume,
                FinishReceive { op: self.node.op(&self.op), name: volume.to_string(), to, bytes },
            )
            .await?;
        let snapshot = self.node.checked(
            "finish-receive",
            Some(volume),
            answers::received(&self.to, answer),
        )?;
        entry.slot.stop().await;
        self.node.discard(volume).await?;
        Ok(snapshot)
    }
}
