//! Receiving: bytes go to `btrfs receive` as they come and into the spool, and count only when all of it is verified.
//!
//! ```text
//! receive --> open --(write)*--> finish: child ends well -> GUID is right -> flushed -> renamed (it counts) -> tidied
//!               |
//!               +-- dropped, killed, power cut: the spool stays; the next `receive` replays it into a fresh child
//! ```
//!
//! The spool takes the space of the stream a second time, so it gets only what the volume itself cannot need. Past that
//! the stream goes on without it, and a later attempt goes on from where the spool ends.

use std::{
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
    fs::File,
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStderr, ChildStdin},
    sync::Mutex,
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    backend::Node,
    command::is_full,
    roles::{refuse_stale, role_name},
    sidecar::{Sidecar, Want, sync_folder},
    snapshots::path_of,
    spool::{About, Stream, decode, received},
};

/// A killed process that does not end within this time hangs in the kernel; nobody waits for it any longer.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// The spool gets one part in so many of the space that is free beyond the volume's own size; the rest is for whatever
/// other volumes write meanwhile.
const SPOOL_SHARE: u64 = 2;

/// The receive under way for one volume; a new one, an abort or a promotion takes the place of an old one.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    session: Arc<Mutex<Option<Session>>>,
    stop: std::sync::Mutex<CancellationToken>,
}

impl Slot {
    /// Ends what is under way and keeps its bytes. Returns when its process is gone.
    pub(crate) async fn stop(&self) {
        let stopping = self.stop.lock().unwrap_or_else(PoisonError::into_inner).clone();
        stopping.cancel();
        if let Some(session) = self.session.lock().await.take() {
            session.kill().await;
        }
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
    /// What a later attempt can go on from; `None` once a part of the stream is missing in it.
    spool: Option<File>,
    /// How many bytes more the spool may hold.
    room: u64,
    /// Bytes of the spool that the child has not seen yet.
    replay: u64,
}

impl Session {
    async fn replay(&mut self, path: &Path) -> std::io::Result<()> {
        if self.replay == 0 {
            return Ok(());
        }
        let mut kept = File::open(path).await?.take(self.replay);
        tokio::io::copy(&mut kept, &mut self.stdin).await?;
        self.replay = 0;
        Ok(())
    }

    async fn take(&mut self, chunk: &[u8]) -> std::io::Result<()> {
        self.keep(chunk).await?;
        self.stdin.write_all(chunk).await
    }

    /// Keeps a chunk for a later attempt, while there is room. What is there already stays of use.
    async fn keep(&mut self, chunk: &[u8]) -> std::io::Result<()> {
        let Some(spool) = &mut self.spool else { return Ok(()) };
        let Some(room) = self.room.checked_sub(chunk.len() as u64) else {
            self.spool = None;
            return Ok(());
        };
        self.room = room;
        let kept = match spool.write_all(chunk).await {
            // tokio's files write behind our back; a later resume must not find less than was taken.
            Ok(()) => spool.flush().await,
            failed => failed,
        };
        match kept {
            Err(error) if is_full(&error) => {
                self.spool = None;
                Ok(())
            }
            kept => kept,
        }
    }

    /// The child has seen everything; how it ended, and what it said.
    async fn end(mut self) -> std::io::Result<(ExitStatus, Vec<u8>)> {
        drop(self.stdin);
        let status = self.child.wait().await?;
        Ok((status, self.stderr.await.unwrap_or_default()))
    }

    async fn kill(mut self) {
        let _ = self.child.start_kill();
        let _ = timeout(KILL_PATIENCE, self.child.wait()).await;
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
        let replica = Sidecar { want: Want::Role(Role::Replica), epoch: op.epoch, size };
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
        self.delete_left(volume).await?;
        let spool = self.spool(volume);
        let landing = spool.landing(attempt());
        let stream = Stream {
            volume: volume.clone(),
            to: to.clone(),
            epoch: op.epoch,
            landing: landing.clone(),
        };
        let (about, snapshots) = (About::new(base, to), self.layout().snapshots(volume));
        let action = format!("could not prepare to receive volume `{volume}`");
        let (path, prepared) = (spool.stream(), landing.clone());
        let (offset, token) = self
            .files(&action, &path, move |_| {
                std::fs::create_dir_all(snapshots)?;
                spool.prepare(&about, &prepared)
            })
            .await?;
        let open = File::options().create(true).append(true).open(&path).await;
        let file = open.map_err(|error| self.btrfs().io(&action, &path, &error))?;
        let room = self.capacity()?.free.0.saturating_sub(size.0) / SPOOL_SHARE;
        let session = self.spawn(&landing, file, room, offset)?;
        let stop = entry.slot.begin(session).await;
        let session = Arc::clone(&entry.slot.session);
        Ok(Box::new(BtrfsReceiver { node: Arc::clone(self), stream, token, session, stop }))
    }

    fn spawn(
        &self,
        landing: &Path,
        spool: File,
        room: u64,
        replay: u64,
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
        let stderr = tokio::spawn(complaints(stderr));
        Ok(Session { child, stdin, stderr, spool: Some(spool), room, replay })
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
        // `btrfs receive` flushes nothing. A snapshot of what it made flushes just that, and waits for no other volume.
        let flush = self.spool(volume).flush();
        self.btrfs().snapshot_read_only(&received(landing), &flush).await?;
        self.steps.done("flushed")?;
        let target = self.layout().snapshot(volume, &to.tag);
        self.files("could not put a received snapshot in its place", landing, move |landing| {
            std::fs::rename(landing, &target)?;
            target.parent().map_or(Ok(()), sync_folder)
        })
        .await?;
        self.steps.done("placed")?;
        self.discard_incoming(volume).await?;
        self.snapshot_at(volume, &to.tag).await
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

    async fn feed(&self, chunk: &[u8]) -> Result<(), BackendError> {
        let path = self.node.spool(&self.stream.volume).stream();
        let mut session = self.session.lock().await;
        // Under the lock, so that nobody can begin another session in between.
        if self.stop.is_cancelled() {
            return Err(self.replaced());
        }
        let Some(running) = session.as_mut() else { return Err(self.replaced()) };
        let fed = async {
            running.replay(&path).await?;
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
        broken.kill().await;
        Err(self.node.btrfs().io("could not keep a part of the stream", &path, &error))
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
        self.feed(&chunk).await
    }

    async fn finish(self: Box<Self>) -> Result<Snapshot, BackendError> {
        // Nothing may have come after a resume: then the child still has to see what was kept.
        self.feed(&[]).await?;
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
            // Dropping the child kills it.
            drop(session.take());
        }
    }
}
