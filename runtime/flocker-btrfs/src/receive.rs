//! Receiving: bytes go to `btrfs receive` as they come and into the spool, and count only when all of it is verified.
//!
//! ```text
//! receive --> open --(write)*--> finish: child ends well -> GUID is right -> a snapshot of it is placed (it is flushed,
//!               |                        durable, and counts) -> tidied
//!               |
//!               +-- dropped, killed, power cut: the spool stays; the next `receive` replays it into a fresh child
//! ```
//!
//! The spool is written beside the stream, which does not wait for it. It is small, since it leaves what files hold where
//! `btrfs receive` has put it; only a later attempt needs the space of what came so far a second time. It gets only what
//! the volume itself cannot need, and where that is not there, it begins again.

use std::{
    os::fd::AsFd,
    path::Path,
    process::{ExitStatus, Stdio},
    sync::{Arc, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use bytes::Bytes;
use flocker_model::{ByteSize, Point, Role, Snapshot, VolumeId};
use flocker_ports::{BackendError, Change, HereAlready, Op, Receiver, ResumeToken};
use flocker_system::command::command;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStderr, ChildStdin},
    runtime::Handle,
    sync::{Mutex, OwnedMutexGuard},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    backend::Node,
    keeper::Keeper,
    layout::SNAP,
    roles::{refuse_stale, role_name},
    sidecar::{Sidecar, Want},
    skeleton::{Kept, Next},
    snapshots::path_of,
    spool::{About, Stream, decode, received},
};

/// A process without a pipe that does not end within this time is killed; one that was killed and does not end hangs in
/// the kernel, and nobody waits for it any longer.
const END_PATIENCE: Duration = Duration::from_secs(10);

/// The spool gets one part in so many of the space that is free beyond the volume's own size; the rest is for whatever
/// other volumes write meanwhile.
const SPOOL_SHARE: u64 = 2;

/// As much as the kernel lets a pipe hold, so that neither side waits for the other at every few pages.
const PIPE: usize = 1 << 20;

/// The receive under way for one volume; a new one, an abort or a promotion takes the place of an old one.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    session: Arc<Mutex<Option<Session>>>,
    stop: std::sync::Mutex<CancellationToken>,
    /// Held by whoever writes to the spool or to what is received, or removes them.
    spool: Arc<Mutex<()>>,
}

impl Slot {
    /// Ends what is under way and keeps its bytes. Returns when its process is gone.
    pub(crate) async fn stop(&self) {
        let stopping = self.stop.lock().unwrap_or_else(PoisonError::into_inner).clone();
        stopping.cancel();
        if let Some(session) = self.session.lock().await.take() {
            session.leave().await;
        }
        drop(self.quiet().await);
    }

    /// Returns when nobody writes what a later attempt needs any more, nor will until the guard is dropped.
    pub(crate) async fn quiet(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.spool).lock_owned().await
    }

    async fn begin(&self, session: Session) -> CancellationToken {
        let token = CancellationToken::new();
        *self.stop.lock().unwrap_or_else(PoisonError::into_inner) = token.clone();
        *self.session.lock().await = Some(session);
        token
    }
}

/// A running `btrfs receive`, what it is fed from, and what it complains of.
#[derive(Debug)]
struct Session {
    child: Child,
    stdin: ChildStdin,
    stderr: JoinHandle<Vec<u8>>,
    /// Keeps what a later attempt can go on from; `None` once a part of the stream is missing in it.
    keeper: Option<Keeper>,
    /// What was kept, which the child has not seen yet.
    replay: Option<Kept>,
    /// Whoever holds it writes still.
    _busy: Arc<OwnedMutexGuard<()>>,
}

impl Session {
    async fn replay(&mut self) -> std::io::Result<()> {
        let Some(mut kept) = self.replay.take() else { return Ok(()) };
        let next = |kept: Kept| tokio::task::spawn_blocking(|| kept.next());
        while let Next::More(bytes, rest) = next(kept).await.map_err(std::io::Error::other)?? {
            self.stdin.write_all(&bytes).await?;
            kept = rest;
        }
        Ok(())
    }

    async fn take(&mut self, chunk: Bytes) -> std::io::Result<()> {
        if let Some(keeper) = &mut self.keeper
            && !keeper.take(&chunk).await
        {
            // What is there already stays of use.
            self.keeper = None;
        }
        self.stdin.write_all(&chunk).await
    }

    /// The child has seen everything; how it ended, and what it said.
    async fn end(mut self) -> std::io::Result<(ExitStatus, Vec<u8>)> {
        drop(self.stdin);
        let status = self.child.wait().await?;
        Ok((status, self.stderr.await.unwrap_or_default()))
    }

    /// Nothing more comes. What is in the pipe still arrives, for a later attempt.
    async fn leave(mut self) {
        drop(self.stdin);
        if timeout(END_PATIENCE, self.child.wait()).await.is_err() {
            let _ = self.child.start_kill();
            let _ = timeout(END_PATIENCE, self.child.wait()).await;
        }
    }
}

/// The port's receiver.
#[derive(Debug)]
struct BtrfsReceiver {
    node: Arc<Node>,
    stream: Stream,
    token: Option<ResumeToken>,
    session: Arc<Mutex<Option<Session>>>,
    stop: CancellationToken,
}

impl Node {
    pub(crate) async fn receive(
        node: &Arc<Self>,
        op: &Op,
        volume: &VolumeId,
        base: Option<&Point>,
        to: &Point,
        size: ByteSize,
    ) -> Result<Box<dyn Receiver>, BackendError> {
        let found = node.find(volume).await?;
        if let Some((role, sidecar)) = &found {
            refuse_stale(op, volume, sidecar.epoch)?;
            match role {
                Role::Replica => {}
                Role::Live | Role::Sealed => {
                    let (found, needed) = (role_name(*role), "a replica or absent");
                    return Err(BackendError::WrongRole { volume: volume.clone(), found, needed });
                }
            }
        }
        // What an earlier change decided comes first: the snapshots of a removed volume must not count any more.
        node.settle(volume).await?;
        if let Some(snapshot) = node.check_points(volume, base, to).await? {
            return Ok(Box::new(HereAlready(snapshot)));
        }
        let rollback = found.as_ref().and_then(|(_, sidecar)| sidecar.rollback.clone());
        let replica = Sidecar { want: Want::Role(Role::Replica), epoch: op.epoch, size, rollback };
        if found.is_none_or(|(_, sidecar)| sidecar != replica) {
            // Remembered before the first byte: a slower sender of an older epoch is refused from now on.
            node.decide(volume, replica).await?;
            node.steps.done("decided")?;
        }
        node.begin(op, volume, base, to, size).await
    }

    /// The base must be here; `Some` when the goal is here too.
    async fn check_points(
        &self,
        volume: &VolumeId,
        base: Option<&Point>,
        to: &Point,
    ) -> Result<Option<Snapshot>, BackendError> {
        let points = self.points(volume).await?;
        if let Some(base) = base.filter(|base| path_of(&points, &base.guid).is_none()) {
            return Err(BackendError::NoSuchSnapshot {
                volume: volume.clone(),
                tag: base.tag.clone(),
            });
        }
        if path_of(&points, &to.guid).is_some() {
            return Ok(self
                .snapshots(volume)
                .await?
                .into_iter()
                .find(|snapshot| snapshot.point.guid == to.guid));
        }
        match points.into_iter().find(|(point, _)| point.tag == to.tag) {
            None => Ok(None),
            Some((other, _)) => Err(BackendError::Diverged {
                volume: volume.clone(),
                expected: format!("{} {}", to.tag, to.guid),
                found: format!("{} {}", other.tag, other.guid),
            }),
        }
    }

    async fn begin(
        self: &Arc<Self>,
        op: &Op,
        volume: &VolumeId,
        base: Option<&Point>,
        to: &Point,
        size: ByteSize,
    ) -> Result<Box<dyn Receiver>, BackendError> {
        let entry = self.entry(volume);
        entry.slot.stop().await;
        let busy = Arc::new(entry.slot.quiet().await);
        let spool = self.spool(volume);
        let landing = spool.landing(attempt());
        let (about, snapshots) = (About::new(base, to), self.layout().snapshots(volume));
        let action = format!("could not prepare to receive volume `{volume}`");
        if self.btrfs().is_there(&self.layout().incoming(volume))? {
            // What was not flushed yet counts as free.
            let flush = |path: &Path| Ok(rustix::fs::syncfs(std::fs::File::open(path)?)?);
            self.files(&action, &self.layout().incoming(volume), flush).await?;
        }
        let free = self.capacity()?.free.0;
        // Another attempt writes again what is here, and the volume may still need all that it may have.
        let again_max = if free < size.0 { 0 } else { free };
        let prepare = spool.clone();
        let held = self
            .files(&action, &spool.skeleton(), move |_| {
                std::fs::create_dir_all(snapshots)?;
                prepare.prepare(&about, again_max)
            })
            .await?;
        self.btrfs().delete_rubbish(&held.of_no_use).await?;
        if again_max == 0 && !held.of_no_use.is_empty() {
            self.btrfs().free_deleted(self.layout().root()).await;
        }
        let (path, room) = (spool.skeleton(), free.saturating_sub(size.0) / SPOOL_SHARE);
        self.files(&action, &landing, move |landing| spool.land(landing)).await?;
        let keeper = Keeper::begin(path, held.kept.is_some(), room, Arc::clone(&busy));
        let session = self.spawn(&landing, keeper, held.kept, busy)?;
        let stop = entry.slot.begin(session).await;
        let stream = Stream { volume: volume.clone(), to: to.clone(), epoch: op.epoch, landing };
        let (token, session) = (held.token, Arc::clone(&entry.slot.session));
        Ok(Box::new(BtrfsReceiver { node: Arc::clone(self), stream, token, session, stop }))
    }

    fn spawn(
        &self,
        landing: &Path,
        keeper: Keeper,
        replay: Option<Kept>,
        busy: Arc<OwnedMutexGuard<()>>,
    ) -> Result<Session, BackendError> {
        let program = &self.btrfs().program;
        let failed = |error| self.btrfs().io("could not start `btrfs receive`", program, &error);
        let mut command = command(program);
        command
            .args(["receive", "--quiet"])
            .arg(landing)
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        let mut child = command.spawn().map_err(failed)?;
        let (Some(stdin), Some(stderr)) = (child.stdin.take(), child.stderr.take()) else {
            return Err(failed(std::io::Error::other("it has no pipes")));
        };
        // A small pipe works as well, only slower.
        let _ = rustix::pipe::fcntl_setpipe_size(stdin.as_fd(), PIPE);
        let stderr = tokio::spawn(complaints(stderr));
        Ok(Session { child, stdin, stderr, keeper: Some(keeper), replay, _busy: busy })
    }

    pub(crate) async fn abort_receive(
        &self,
        op: &Op,
        volume: &VolumeId,
    ) -> Result<Change, BackendError> {
        let Some((role, sidecar)) = self.find(volume).await? else { return Ok(Change::None) };
        refuse_stale(op, volume, sidecar.epoch)?;
        match role {
            Role::Live | Role::Sealed => return Ok(Change::None),
            Role::Replica => {}
        }
        let unfinished = self.btrfs().is_there(&self.layout().incoming(volume))?;
        self.entry(volume).slot.stop().await;
        self.discard_incoming(volume).await?;
        self.steps.done("discarded")?;
        if !self.points(volume).await?.is_empty() {
            return Ok(if unfinished { Change::Made } else { Change::None });
        }
        // It never held anything, so nothing is lost with it.
        self.decide(volume, Sidecar { want: Want::Gone, ..sidecar }).await?;
        self.steps.done("decided")?;
        self.settle(volume).await?;
        Ok(Change::Made)
    }

    /// All of the stream was seen and the child ended well: makes the snapshot count.
    async fn complete(&self, stream: &Stream) -> Result<Snapshot, BackendError> {
        let Stream { volume, to, epoch, landing } = stream;
        let (_, sidecar) = self.need(volume).await?;
        if *epoch < sidecar.epoch {
            return Err(BackendError::StaleEpoch {
                volume: volume.clone(),
                current: sidecar.epoch,
                asked: *epoch,
            });
        }
        let found = self.btrfs().show(&received(landing)).await?;
        if !found.is_some_and(|found| found.read_only && found.guid() == to.guid) {
            self.throw_away(stream).await;
            return Err(BackendError::CorruptStream {
                reason: format!("it does not make snapshot `{}`", to.guid),
            });
        }
        // `btrfs receive` flushes nothing. A snapshot of what it made flushes just that, waits for no other volume, and is
        // as good as what it was made of: it has the same identity for senders and receivers, and appears durably or not
        // at all.
        let folder = self.layout().snapshot(volume, &to.tag);
        self.files("could not make the folder of a snapshot", &folder, |folder| {
            std::fs::create_dir_all(folder)
        })
        .await?;
        self.steps.done("made folder")?;
        self.btrfs().snapshot_read_only(&received(landing), &folder.join(SNAP)).await?;
        self.steps.done("placed")?;
        let (discarded, snapshot) =
            tokio::join!(self.discard_incoming(volume), self.snapshot_at(volume, &to.tag));
        discarded?;
        snapshot
    }

    /// The child refused the stream, or could not store it. Its bytes are of no use for another attempt.
    async fn give_up(&self, stream: &Stream, session: Session) -> BackendError {
        let error = match session.end().await {
            Ok((status, stderr)) => self.refusal(&status, &stderr),
            Err(error) => {
                self.btrfs().io("could not wait for `btrfs receive`", &stream.landing, &error)
            }
        };
        self.throw_away(stream).await;
        error
    }

    /// What came is of no use. The reason for that says more than a failure to remove it, which the next open repeats.
    async fn throw_away(&self, stream: &Stream) {
        if let Err(error) = self.discard_incoming(&stream.volume).await {
            tracing::warn!(volume = %stream.volume, "{error}");
        }
        self.btrfs().free_deleted(self.layout().root()).await;
    }

    fn refusal(&self, status: &ExitStatus, stderr: &[u8]) -> BackendError {
        let error = self.btrfs().explain("could not receive", stderr, &status.to_string());
        // Everything else that can be wrong with a pool is wrong before the first byte.
        if let BackendError::Failed { reason, .. } = error {
            BackendError::CorruptStream { reason }
        } else {
            error
        }
    }
}

/// Tells the folders of attempts apart, also across restarts.
fn attempt() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or_default()
}

/// Keeps the last of what a child says, and reads on so that it never waits for us.
async fn complaints(mut pipe: ChildStderr) -> Vec<u8> {
    const KEPT: usize = 16 << 10;
    let (mut kept, mut buffer) = (Vec::new(), vec![0; 4096]);
    while let Ok(n @ 1..) = pipe.read(&mut buffer).await {
        kept.extend_from_slice(&buffer[..n]);
        if kept.len() > 2 * KEPT {
            kept.drain(..kept.len() - KEPT);
        }
    }
    kept
}

impl BtrfsReceiver {
    fn replaced(&self) -> BackendError {
        BackendError::Busy {
            volume: self.stream.volume.clone(),
            holder: "another receive, an abort or a promotion took the place of this stream"
                .to_owned(),
        }
    }

    async fn feed(&self, chunk: Bytes) -> Result<(), BackendError> {
        let mut session = self.session.lock().await;
        // Under the lock, so that nobody can begin another session in between.
        if self.stop.is_cancelled() {
            return Err(self.replaced());
        }
        let Some(running) = session.as_mut() else { return Err(self.replaced()) };
        let fed = async {
            running.replay().await?;
            running.take(chunk).await
        };
        let fed = tokio::select! {
            fed = fed => fed,
            () = self.stop.cancelled() => return Err(self.replaced()),
        };
        let Err(error) = fed else { return Ok(()) };
        let Some(broken) = session.take() else { return Err(self.replaced()) };
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Err(self.node.give_up(&self.stream, broken).await);
        }
        broken.leave().await;
        let path = self.node.spool(&self.stream.volume).skeleton();
        Err(self.node.btrfs().io("could not pass on what was kept of the stream", &path, &error))
    }
}

#[async_trait]
impl Receiver for BtrfsReceiver {
    fn resume_token(&self) -> Option<ResumeToken> {
        self.token.clone()
    }

    fn held(&self) -> ByteSize {
        let offset = self.token.as_ref().and_then(|token| decode(token).ok());
        ByteSize(offset.map_or(0, |(offset, _)| offset))
    }

    async fn write(&mut self, chunk: Bytes) -> Result<(), BackendError> {
        self.feed(chunk).await
    }

    async fn finish(self: Box<Self>) -> Result<Snapshot, BackendError> {
        // Nothing may have come after a resume: then the child still has to see what was kept.
        self.feed(Bytes::new()).await?;
        let mut session = self.session.lock().await;
        if self.stop.is_cancelled() {
            return Err(self.replaced());
        }
        let Some(running) = session.take() else { return Err(self.replaced()) };
        drop(session);
        // From here on only this task knows the child; whoever takes the volume over cancels `stop`, and the child is
        // killed by being dropped.
        let (status, stderr) = tokio::select! {
            ended = running.end() => {
                ended.map_err(|error| self.node.btrfs().io("could not wait for `btrfs receive`", &self.stream.landing, &error))?
            }
            () = self.stop.cancelled() => return Err(self.replaced()),
        };
        let _turn = self.node.turn(&self.stream.volume).await;
        if self.stop.is_cancelled() {
            return Err(self.replaced());
        }
        if !status.success() {
            self.node.throw_away(&self.stream).await;
            return Err(self.node.refusal(&status, &stderr));
        }
        self.node.complete(&self.stream).await
    }
}

impl Drop for BtrfsReceiver {
    fn drop(&mut self) {
        // Whoever came after us has cancelled `stop`; what is in the slot is theirs then.
        if !self.stop.is_cancelled()
            && let Ok(mut session) = self.session.try_lock()
        {
            let Some(session) = session.take() else { return };
            match Handle::try_current() {
                Ok(runtime) => drop(runtime.spawn(session.leave())),
                // The program ends; dropping the child kills it.
                Err(_) => drop(session),
            }
        }
    }
}
