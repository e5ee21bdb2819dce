//! Receiving: bytes are kept as they come, and count only when all of them are there and are what was announced.

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use flocker_model::{ByteSize, Epoch, Point, Role, Snapshot, Timestamp, VolumeId};
use flocker_ports::{BackendError, Change, Op, Receiver, ResumeToken};

use super::{
    SimBackend,
    files::{self, Files},
    pool::{Pool, Taken, Volume, refuse_older, role_name, wrong_role},
    stream,
};

/// A stream that is not finished.
#[derive(Debug)]
pub(super) struct Incoming {
    base: Option<Point>,
    to: Point,
    epoch: Epoch,
    pub(super) bytes: BytesMut,
    /// Which receiver may add to it: the last that was asked for.
    session: u64,
}

/// How a receive began.
#[derive(Debug)]
pub(super) enum Opened {
    /// The snapshot is here; whatever comes is thrown away.
    HereAlready(Snapshot),
    /// Bytes are wanted.
    Session { session: u64, token: Option<ResumeToken> },
}

impl Pool {
    pub(super) fn receive(
        &mut self,
        op: &Op,
        id: &VolumeId,
        base: Option<&Point>,
        to: &Point,
        size: ByteSize,
    ) -> Result<Opened, BackendError> {
        if let Some(volume) = self.volumes.get(id) {
            refuse_older(op, id, volume.epoch)?;
            match volume.role {
                Role::Replica => {}
                Role::Live | Role::Sealed => {
                    return Err(wrong_role(id, role_name(volume.role), "a replica or absent"));
                }
            }
        }
        if let Some(here) = self.check_points(id, base, to)? {
            return Ok(Opened::HereAlready(here));
        }
        let (session, inode) = (self.unique(), self.unique());
        let volume = self.volumes.entry(id.clone()).or_insert_with(|| {
            let (files, snapshots) = (Files::new(), Vec::new());
            Volume {
                role: Role::Replica,
                epoch: op.epoch,
                size,
                files,
                written: None,
                snapshots,
                incoming: None,
                left_of: None,
                inode,
            }
        });
        // Remembered before the first byte: a slower sender of an older epoch is refused from now on.
        (volume.epoch, volume.size) = (op.epoch, size);
        let kept =
            volume.incoming.take().filter(|kept| kept.base.as_ref() == base && kept.to == *to);
        let bytes = kept.map(|kept| kept.bytes).unwrap_or_default();
        let token = (!bytes.is_empty()).then(|| stream::token(&bytes));
        let incoming =
            Incoming { base: base.cloned(), to: to.clone(), epoch: op.epoch, bytes, session };
        volume.incoming = Some(incoming);
        Ok(Opened::Session { session, token })
    }

    /// The base must be here; `Some` when the goal is here too.
    fn check_points(
        &self,
        id: &VolumeId,
        base: Option<&Point>,
        to: &Point,
    ) -> Result<Option<Snapshot>, BackendError> {
        let points = self.volumes.get(id).map_or(&[][..], |volume| &volume.snapshots);
        if let Some(base) = base
            && !points.iter().any(|taken| taken.snapshot.point.guid == base.guid)
        {
            return Err(BackendError::NoSuchSnapshot { volume: id.clone(), tag: base.tag.clone() });
        }
        if let Some(here) = points.iter().find(|taken| taken.snapshot.point.guid == to.guid) {
            return Ok(Some(here.snapshot.clone()));
        }
        match points.iter().map(|taken| &taken.snapshot.point).find(|point| point.tag == to.tag) {
            None => Ok(None),
            Some(other) => Err(BackendError::Diverged {
                volume: id.clone(),
                expected: format!("{} {}", to.tag, to.guid),
                found: format!("{} {}", other.tag, other.guid),
            }),
        }
    }

    fn session(&mut self, id: &VolumeId, session: u64) -> Result<&mut Volume, BackendError> {
        match self.volumes.get_mut(id) {
            Some(volume)
                if volume.incoming.as_ref().is_some_and(|incoming| incoming.session == session) =>
            {
                Ok(volume)
            }
            Some(_) | None => Err(BackendError::Busy {
                volume: id.clone(),
                holder: "another receive, an abort or a promotion took the place of this stream"
                    .to_owned(),
            }),
        }
    }

    fn take(&mut self, id: &VolumeId, session: u64, chunk: &[u8]) -> Result<(), BackendError> {
        let (free, pool) = (self.capacity().free.0, self.root().display().to_string());
        let volume = self.session(id, session)?;
        if chunk.len() as u64 > free {
            return Err(BackendError::PoolFull { pool });
        }
        if let Some(incoming) = &mut volume.incoming {
            incoming.bytes.extend_from_slice(chunk);
        }
        Ok(())
    }

    fn complete(
        &mut self,
        id: &VolumeId,
        session: u64,
        now: Timestamp,
    ) -> Result<Snapshot, BackendError> {
        let volume = self.session(id, session)?;
        // Whatever comes of it: these bytes are of no use for another attempt.
        let Some(Incoming { base, to, epoch, bytes, .. }) = volume.incoming.take() else {
            return Err(BackendError::CorruptStream { reason: "it is gone".into() });
        };
        if epoch < volume.epoch {
            return Err(BackendError::StaleEpoch {
                volume: id.clone(),
                current: volume.epoch,
                asked: epoch,
            });
        }
        let base = match &base {
            Some(base) => Some((base, &volume.find(id, base)?.files)),
            None => None,
        };
        let (guid, content) = stream::read(bytes.freeze(), base)?;
        if guid != to.guid {
            let reason = format!("it makes snapshot `{guid}`, announced was `{}`", to.guid);
            return Err(BackendError::CorruptStream { reason });
        }
        let snapshot =
            Snapshot { point: to, taken: now, referenced: ByteSize(files::size(&content)) };
        volume.files.clone_from(&content);
        volume.snapshots.push(Taken { snapshot: snapshot.clone(), files: content });
        Ok(snapshot)
    }

    pub(super) fn abort_receive(&mut self, op: &Op, id: &VolumeId) -> Result<Change, BackendError> {
        let Some(volume) = self.volumes.get_mut(id) else { return Ok(Change::None) };
        refuse_older(op, id, volume.epoch)?;
        match volume.role {
            Role::Live | Role::Sealed => return Ok(Change::None),
            Role::Replica => {}
        }
        let unfinished = volume.incoming.take().is_some();
        if volume.snapshots.is_empty() {
            // It never held anything, so nothing is lost with it.
            self.volumes.remove(id);
            return Ok(Change::Made);
        }
        Ok(if unfinished { Change::Made } else { Change::None })
    }
}

/// The port's receiver. Dropping it keeps the bytes.
#[derive(Debug)]
pub(super) struct SimReceiver {
    backend: SimBackend,
    volume: VolumeId,
    opened: Opened,
}

impl SimReceiver {
    pub(super) fn new(backend: SimBackend, volume: VolumeId, opened: Opened) -> Self {
        Self { backend, volume, opened }
    }
}

#[async_trait]
impl Receiver for SimReceiver {
    fn resume_token(&self) -> Option<ResumeToken> {
        match &self.opened {
            Opened::HereAlready(_) => None,
            Opened::Session { token, .. } => token.clone(),
        }
    }

    async fn write(&mut self, chunk: Bytes) -> Result<(), BackendError> {
        self.backend.call("backend.write", |pool| match &self.opened {
            Opened::HereAlready(_) => Ok(()),
            Opened::Session { session, .. } => pool.take(&self.volume, *session, &chunk),
        })
    }

    async fn finish(self: Box<Self>) -> Result<Snapshot, BackendError> {
        let now = self.backend.now();
        self.backend.call("backend.finish", |pool| match &self.opened {
            Opened::HereAlready(snapshot) => Ok(snapshot.clone()),
            Opened::Session { session, .. } => pool.complete(&self.volume, *session, now),
        })
    }
}
