//! Receiving: bytes go through a pipe into the pool as they come, and count only when all of them were verified.
//!
//! ```text
//! receive --> open --(write)*--> finish: the last record is let go -> ZFS makes the snapshot -> its GUID is right
//!               |
//!               +-- dropped, killed, power cut: ZFS keeps what came; its token says from where to go on
//! ```

use std::{
    io,
    sync::{Arc, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use flocker_model::{ByteSize, Epoch, Point, Role, Snapshot, VolumeId, VolumeOptions};
use flocker_ports::{BackendError, Change, HereAlready, Op, Receiver, ResumeToken};
use flocker_zfs_wire::{Call, Map};
use tokio::{io::AsyncWriteExt, net::unix::pipe, sync::Mutex, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    backend::Node,
    errors::About,
    helper::{CallError, Pending},
    plan::{self, Step},
    send::{Token, announced, pipe},
    state::{Found, Label, MARK, State, Want},
    stream::{Announced, Valve},
    verbs::{properties, refuse_older},
};

/// A receive that does not end within this time after its pipe was closed hangs in the kernel.
const END_PATIENCE: Duration = Duration::from_secs(60);

/// The receive under way for one volume; a new one, an abort or a promotion takes the place of an old one.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    session: Arc<Mutex<Option<Session>>>,
    stop: std::sync::Mutex<CancellationToken>,
    /// The epoch of a first receive of which nothing may be in the pool yet.
    pending: std::sync::Mutex<Option<Epoch>>,
}

impl Slot {
    /// Ends what is under way and keeps its bytes. Returns when ZFS has put them away, and says whether anything was.
    pub(crate) async fn stop(&self) -> bool {
        let stopping = self.stop.lock().unwrap_or_else(PoisonError::into_inner).clone();
        stopping.cancel();
        let Some(session) = self.session.lock().await.take() else { return false };
        let _ = timeout(END_PATIENCE, session.end()).await;
        true
    }

    async fn begin(&self, session: Session) -> CancellationToken {
        let token = CancellationToken::new();
        *self.stop.lock().unwrap_or_else(PoisonError::into_inner) = token.clone();
        *self.session.lock().await = Some(session);
        token
    }

    fn pending(&self) -> Option<Epoch> {
        *self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_pending(&self, epoch: Option<Epoch>) {
        *self.pending.lock().unwrap_or_else(PoisonError::into_inner) = epoch;
    }
}

/// A receive in the kernel, and the pipe that it is fed by.
#[derive(Debug)]
struct Session {
    /// Closed, the stream is over.
    pipe: Option<pipe::Sender>,
    answer: Pending,
}

impl Session {
    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.pipe {
            Some(pipe) => pipe.write_all(bytes).await,
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// The kernel has seen everything; what came of it.
    async fn end(self) -> Result<Map, CallError> {
        drop(self.pipe);
        self.answer.wait().await
    }
}

/// What is received, and under which epoch.
#[derive(Debug)]
struct Aim {
    volume: VolumeId,
    to: Point,
    epoch: Epoch,
}

/// The port's receiver.
#[derive(Debug)]
struct ZfsReceiver {
    node: Arc<Node>,
    aim: Aim,
    token: Option<(ResumeToken, u64)>,
    valve: Valve,
    session: Arc<Mutex<Option<Session>>>,
    stop: CancellationToken,
}

const ACTION: &str = "could not receive";

impl Node {
    pub(crate) async fn receive(
        node: &Arc<Self>,
        op: &Op,
        volume: &VolumeId,
        base: Option<&Point>,
        to: &Point,
        options: &VolumeOptions,
    ) -> Result<Box<dyn Receiver>, BackendError> {
        let size = options.size;
        // A copy that could not be opened here is of no use for a move, and that comes out too late.
        if let Some(secret) = &options.secret {
            node.key(volume, secret).await?;
        }
        // Whoever may not receive does not stop others.
        let mut found = node.look(volume).await?;
        if let Found::Ours(state) = &found
            && matches!(state.label.want, Want::Role(_))
        {
            plan::receive(op, volume, state, size)?;
        }
        let slot = &node.entry(volume).slot;
        refuse_older(op, volume, slot.pending())?;
        if slot.stop().await {
            found = node.look(volume).await?;
        }
        let announced = announced(base, to);
        let state = node.prepare(op, volume, size, announced, found).await?;
        if let Some(state) = &state {
            if let Some(snapshot) = check_points(state, volume, base, to)? {
                node.check_key_of(volume, state).await?;
                return Ok(Box::new(HereAlready(snapshot)));
            }
            let decide = |state: &State| plan::receive(op, volume, state, size);
            // As a rule it is in order since the last receive.
            if decide(state)? != Step::Keep || !plan::to_set(state).is_empty() {
                node.decide(ACTION, volume, decide).await?;
                node.settle(volume).await?;
            }
        } else if let Some(base) = base {
            let (volume, tag) = (volume.clone(), base.tag.clone());
            return Err(BackendError::NoSuchSnapshot { volume, tag });
        }
        let token = match &state {
            Some(state) => node.resume(volume, state, announced).await?,
            None => None,
        };
        let label = Label { want: Want::Role(Role::Replica), epoch: op.epoch, size };
        // The properties are for a dataset that the stream itself makes.
        let makes_it = state.is_none_or(|state| state.snapshots.is_empty());
        let properties = if makes_it { properties(&label, options, true) } else { Map::new() };
        let session = node.spawn(volume, to, properties, options.secret.is_some()).await?;
        slot.set_pending(makes_it.then_some(op.epoch));
        let stop = slot.begin(session).await;
        let session = Arc::clone(&slot.session);
        let aim = Aim { volume: volume.clone(), to: to.clone(), epoch: op.epoch };
        let (node, valve) = (Arc::clone(node), Valve::new(announced));
        Ok(Box::new(ZfsReceiver { node, aim, token, valve, session, stop }))
    }

    /// What is here to receive into; `None` where the stream has to make it.
    async fn prepare(
        &self,
        op: &Op,
        volume: &VolumeId,
        size: ByteSize,
        announced: Announced,
        found: Found,
    ) -> Result<Option<Box<State>>, BackendError> {
        match found {
            Found::Absent => Ok(None),
            Found::Foreign { token: Some(token) }
                if self
                    .read_token(volume, &token)
                    .await?
                    .is_some_and(|of| of.announced == announced) =>
            {
                // A part of this very stream, by a receive that a power cut ended before the dataset was marked as ours.
                let about = self.about("could not throw away what was received of", volume);
                let destroy = Call::Destroy { name: self.dataset(volume) };
                self.helper.call(destroy).await.map_err(|error| about.explain(error))?;
                Ok(None)
            }
            Found::Foreign { .. } => Err(self.foreign(ACTION, volume)),
            Found::Ours(state) => match state.label.want {
                Want::Role(_) => {
                    plan::receive(op, volume, &state, size)?;
                    Ok(Some(state))
                }
                // What an earlier change decided comes first: the snapshots of a removed volume must not count any more.
                Want::Making | Want::Gone => match self.remove(volume, &state).await? {
                    None => Ok(None),
                    Some(holder) => Err(BackendError::Busy { volume: volume.clone(), holder }),
                },
            },
        }
    }

    /// From where the receive may go on. What came of another stream is thrown away.
    async fn resume(
        &self,
        volume: &VolumeId,
        state: &State,
        announced: Announced,
    ) -> Result<Option<(ResumeToken, u64)>, BackendError> {
        let Some(unfinished) = &state.unfinished else { return Ok(None) };
        if let Some(token) = &unfinished.token {
            let says = self.read_token(volume, token).await?;
            if let Some(says) = says.filter(|says| says.announced == announced) {
                return Ok(Some((ResumeToken(token.clone()), says.n_bytes)));
            }
        }
        self.discard(volume).await?;
        Ok(None)
    }

    async fn read_token(
        &self,
        volume: &VolumeId,
        token: &str,
    ) -> Result<Option<Token>, BackendError> {
        let says = self.helper.call(Call::ReadToken { token: token.to_owned() }).await;
        let says = says.map_err(|error| self.about(ACTION, volume).explain(error))?;
        Ok(Token::parse(&says))
    }

    async fn spawn(
        &self,
        volume: &VolumeId,
        to: &Point,
        properties: Map,
        raw: bool,
    ) -> Result<Session, BackendError> {
        let about = self.about(ACTION, volume);
        let failed = |error: io::Error| about.failed(format!("could not make a pipe: {error}"));
        let (reader, writer) = pipe().map_err(failed)?;
        let pipe = Some(pipe::Sender::from_owned_fd(writer).map_err(failed)?);
        let snapshot = format!("{}@{MARK}{}", self.dataset(volume), to.tag);
        let call = Call::Receive { snapshot, properties, raw };
        let answer = self.helper.begin(call, Some(reader)).await;
        Ok(Session { pipe, answer: answer.map_err(|error| about.explain(error))? })
    }

    /// Throws away what came of a receive that did not end: beside the content, or the whole dataset if it is all that there
    /// is. Nothing may be under way.
    pub(crate) async fn discard(&self, volume: &VolumeId) -> Result<(), BackendError> {
        let Found::Ours(state) = self.look(volume).await? else { return Ok(()) };
        let Some(unfinished) = &state.unfinished else { return Ok(()) };
        let dataset = self.dataset(volume);
        let name = if unfinished.beside {
            format!("{dataset}/%recv")
        } else if state.snapshots.is_empty() && state.others.is_empty() {
            dataset
        } else {
            return Ok(());
        };
        let destroyed = self.helper.call(Call::Destroy { name }).await;
        let about = self.about("could not throw away what was received of", volume);
        destroyed.map(drop).map_err(|error| about.explain(error))
    }

    pub(crate) async fn abort_receive(
        &self,
        op: &Op,
        volume: &VolumeId,
    ) -> Result<Change, BackendError> {
        let slot = &self.entry(volume).slot;
        let Some(state) = self.find(volume).await? else {
            refuse_older(op, volume, slot.pending())?;
            let was_pending = slot.pending().is_some();
            slot.stop().await;
            slot.set_pending(None);
            // What came in the meantime is gone as well.
            self.discard(volume).await?;
            return Ok(if was_pending { Change::Made } else { Change::None });
        };
        plan::refuse_stale(op, volume, state.label.epoch)?;
        if state.label.want != Want::Role(Role::Replica) {
            return Ok(Change::None);
        }
        // Of a stream that has hardly begun, nothing may be in the pool.
        let was_there = slot.pending().is_some() | slot.stop().await;
        slot.set_pending(None);
        let Some(state) = self.find(volume).await? else {
            return Ok(if was_there { Change::Made } else { Change::None });
        };
        self.discard(volume).await?;
        if !state.snapshots.is_empty() {
            let was_there = was_there || state.unfinished.is_some();
            return Ok(if was_there { Change::Made } else { Change::None });
        }
        // It never held anything, so nothing is lost with it.
        if let Some(state) = self.find(volume).await? {
            self.remove(volume, &state).await?;
        }
        Ok(Change::Made)
    }

    /// ZFS has made the snapshot: is it the one that was announced?
    async fn complete(&self, aim: &Aim) -> Result<Snapshot, BackendError> {
        let state = self.need(&aim.volume).await?;
        if aim.epoch < state.label.epoch {
            return Err(BackendError::StaleEpoch {
                volume: aim.volume.clone(),
                current: state.label.epoch,
                asked: aim.epoch,
            });
        }
        self.check_key_of(&aim.volume, &state).await?;
        state.by_tag(&aim.to.tag).filter(|found| found.point == aim.to).cloned().ok_or_else(|| {
            let reason = format!("it does not make snapshot `{}`", aim.to.guid);
            BackendError::CorruptStream { reason }
        })
    }

    /// What came is of no use. The reason for that says more than a failure to remove it, which the next receive repeats.
    async fn throw_away(&self, volume: &VolumeId) {
        if let Err(error) = self.discard(volume).await {
            tracing::warn!(%volume, "{error}");
        }
    }
}

/// The base must be here; `Some` when the goal is here too.
fn check_points(
    state: &State,
    volume: &VolumeId,
    base: Option<&Point>,
    to: &Point,
) -> Result<Option<Snapshot>, BackendError> {
    if let Some(base) = base.filter(|base| state.by_guid(&base.guid).is_none()) {
        return Err(BackendError::NoSuchSnapshot { volume: volume.clone(), tag: base.tag.clone() });
    }
    if let Some(here) = state.by_guid(&to.guid) {
        return Ok(Some(here.clone()));
    }
    let diverged = |other: &Point| BackendError::Diverged {
        volume: volume.clone(),
        expected: format!("{} {}", to.tag, to.guid),
        found: format!("{} {}", other.tag, other.guid),
    };
    if let Some(other) = state.by_tag(&to.tag) {
        return Err(diverged(&other.point));
    }
    match (base, state.points().next_back()) {
        // ZFS adds to the end of a history, and a whole stream begins one.
        (None, Some(newest)) => Err(diverged(newest)),
        (Some(base), Some(newest)) if newest.guid != base.guid => Err(diverged(newest)),
        (_, None) | (Some(_), Some(_)) => Ok(None),
    }
}

impl ZfsReceiver {
    fn replaced(&self) -> BackendError {
        BackendError::Busy {
            volume: self.aim.volume.clone(),
            holder: "another receive, an abort or a promotion took the place of this stream"
                .to_owned(),
        }
    }

    async fn feed(&self, parts: &[Bytes]) -> Result<(), BackendError> {
        let mut session = self.session.lock().await;
        // Under the lock, so that nobody can begin another session in between.
        if self.stop.is_cancelled() {
            return Err(self.replaced());
        }
        let Some(running) = session.as_mut() else { return Err(self.replaced()) };
        let fed = async {
            for part in parts {
                running.write(part).await?;
            }
            Ok::<_, io::Error>(())
        };
        let fed = tokio::select! {
            fed = fed => fed,
            () = self.stop.cancelled() => return Err(self.replaced()),
        };
        let Err(error) = fed else { return Ok(()) };
        let Some(broken) = session.take() else { return Err(self.replaced()) };
        // The other end is gone: what it says is the reason.
        match broken.end().await {
            Err(refusal) => Err(self.refused(refusal).await),
            Ok(_) => Err(self.about().failed(error.to_string())),
        }
    }

    fn about(&self) -> About<'_> {
        self.node.about(ACTION, &self.aim.volume)
    }

    async fn refused(&self, refusal: CallError) -> BackendError {
        let error = self.about().explain_receive(refusal);
        if matches!(error, BackendError::CorruptStream { .. }) {
            self.node.throw_away(&self.aim.volume).await;
        }
        error
    }
}

#[async_trait]
impl Receiver for ZfsReceiver {
    fn resume_token(&self) -> Option<ResumeToken> {
        self.token.as_ref().map(|(token, _)| token.clone())
    }

    fn held(&self) -> ByteSize {
        ByteSize(self.token.as_ref().map_or(0, |(_, n_bytes)| *n_bytes))
    }

    async fn write(&mut self, chunk: Bytes) -> Result<(), BackendError> {
        let ready = self.valve.push(chunk)?;
        self.feed(&ready).await
    }

    async fn finish(mut self: Box<Self>) -> Result<Snapshot, BackendError> {
        let last = self.valve.end()?;
        self.feed(&[last]).await?;
        let mut session = self.session.lock().await;
        if self.stop.is_cancelled() {
            return Err(self.replaced());
        }
        let Some(running) = session.take() else { return Err(self.replaced()) };
        drop(session);
        let ended = running.end().await;
        let _turn = self.node.turn(&self.aim.volume).await;
        if let Err(refusal) = ended {
            return Err(self.refused(refusal).await);
        }
        self.node.entry(&self.aim.volume).slot.set_pending(None);
        if self.stop.is_cancelled() {
            return Err(self.replaced());
        }
        self.node.complete(&self.aim).await
    }
}

impl Drop for ZfsReceiver {
    fn drop(&mut self) {
        // Whoever came after us has cancelled `stop`; what is in the slot is theirs then.
        if !self.stop.is_cancelled()
            && let Ok(mut session) = self.session.try_lock()
            && let Some(session) = session.as_mut()
        {
            // ZFS puts away what came. The answer stays in the slot, for whoever comes next has to wait for that.
            session.pipe = None;
        }
    }
}
