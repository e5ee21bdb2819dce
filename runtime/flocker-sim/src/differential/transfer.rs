//! Snapshots on their way from one node to the other: whole, cut, gone on with, left open, damaged.

use std::time::{Duration, Instant};

use bytes::Bytes;
use flocker_model::{Point, Role, Snapshot, VolumeId};
use flocker_ports::{Backend, BackendError, Op, Receiver};
use futures::StreamExt;

use super::{
    NODES,
    answers::{Answer, show},
    draw::Draw,
    run::{Difference, Run, Same, size},
};

/// How long a filesystem may take to notice what was written into a pipe.
const PATIENCE: Duration = Duration::from_secs(20);

/// Bytes after which a stream has said what it makes.
const ENOUGH: usize = 4096;

/// What is sent, and where to.
#[derive(Debug, Clone)]
struct Aim {
    target: usize,
    volume: VolumeId,
    base: Option<Point>,
    to: Point,
}

/// What becomes of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Arrives,
    /// Half of it comes, and then the receiver goes.
    Cut,
    /// Half of it comes, and the receiver waits.
    Held,
    /// A bit of it is not what was sent.
    Damaged,
}

/// One side of a transfer under way.
#[derive(Debug)]
struct Half {
    receiver: Box<dyn Receiver>,
    rest: Vec<u8>,
}

/// A transfer that nobody finished yet.
#[derive(Debug)]
pub(super) struct Held {
    aim: Aim,
    model: Half,
    real: Half,
}

impl Run<'_> {
    /// A transfer to this copy, or where that is not possible to another.
    pub(super) async fn transfer(
        &mut self,
        draw: &mut Draw,
        target: usize,
        volume: &VolumeId,
    ) -> Same {
        let mut aims = Vec::new();
        for target in 0..NODES {
            for volume in self.volumes() {
                aims.extend(self.aim(draw, target, &volume).await);
            }
        }
        let aim = self.aim(draw, target, volume).await;
        let Some(aim) = aim.or_else(|| draw.one_of(&aims).cloned()) else { return Ok(()) };
        let (target, volume) = (aim.target, aim.volume.clone());
        let fate = match draw.below(8) {
            0..=3 => Fate::Arrives,
            4..=5 => Fate::Cut,
            6 => Fate::Held,
            _ => Fate::Damaged,
        };
        // A replica hears of its owner's epoch by what it is sent.
        let ahead = u64::from(draw.one_in(4));
        let op = self.op(draw, target, &volume, ahead).await;
        if let Some((model, real)) = self.open(&op, &aim).await? {
            self.see_to(fate, aim, op, model, real).await?;
        }
        self.compare(target, &volume, true).await
    }

    async fn aim(&self, draw: &mut Draw, target: usize, volume: &VolumeId) -> Option<Aim> {
        let there = self.model_points(1 - target, volume).await;
        let here = self.model_points(target, volume).await;
        let owners = self.model_state(target, volume).await;
        if owners.is_some_and(|state| state.role != Role::Replica) && !draw.one_in(8) {
            return None;
        }
        let to = if draw.one_in(3) { draw.one_of(&there) } else { there.last() };
        let to = to?.clone();
        let before = &there[..there.iter().position(|point| *point == to)?];
        // On what the receiver has last. Where that is none of the sender's, or newer than `to`, there is no way.
        let base = match here.last() {
            None if draw.one_in(8) => before.last(),
            None => None,
            Some(newest) => match before.iter().find(|point| *point == newest) {
                None if here.contains(&to) => None,
                None => return None,
                base => base,
            },
        };
        Some(Aim { target, volume: volume.clone(), base: base.cloned(), to })
    }

    async fn see_to(
        &mut self,
        fate: Fate,
        aim: Aim,
        op: Op,
        mut model: Half,
        mut real: Half,
    ) -> Same {
        // Of a stream that is hardly longer than its beginning, a filesystem may keep nothing.
        let fate = match fate {
            Fate::Cut | Fate::Held if real.rest.len() < 2 * ENOUGH => Fate::Arrives,
            fate @ (Fate::Arrives | Fate::Cut | Fate::Held | Fate::Damaged) => fate,
        };
        match fate {
            Fate::Arrives => self.finish(&aim, model, real).await,
            Fate::Cut | Fate::Held => {
                let (said, truth) = (model.half().await, real.half().await);
                let shown = |()| "written".to_owned();
                let asked =
                    format!("node {}, {}: half of {} arrives", aim.target, aim.volume, aim.to.tag);
                self.agree(
                    &asked,
                    said.is_ok(),
                    &show(&said, |()| shown(())),
                    &show(&truth, |()| shown(())),
                )?;
                self.wait_for(&aim).await;
                // One at a time is held open.
                let before = self.held.take();
                match fate {
                    Fate::Held => self.held = Some(Held { aim, model, real }),
                    Fate::Cut | Fate::Arrives | Fate::Damaged => self.held = before,
                }
                Ok(())
            }
            Fate::Damaged => {
                // Where one has nothing left to send, nothing can go wrong with it.
                if !model.rest.is_empty() && !real.rest.is_empty() {
                    model.damage();
                    real.damage();
                }
                self.finish(&aim, model, real).await?;
                let (node, volume) = (aim.target, &aim.volume);
                let _ = self.models[node].abort_receive(&op, volume).await;
                let _ = self.real.backend(node).abort_receive(&op, volume).await;
                Ok(())
            }
        }
    }

    /// Opens both receivers, and both streams for them, from where they stopped. `None` when both are refused.
    async fn open(&mut self, op: &Op, aim: &Aim) -> Result<Option<(Half, Half)>, Difference> {
        let Aim { target, volume, base, to } = aim;
        let size = size(op.epoch.0);
        let (real_base, real_to) =
            (base.as_ref().map(|base| self.names.real(base)), self.names.real(to));
        let model = self.models[*target].receive(op, volume, base.as_ref(), to, &size.into()).await;
        let backend = self.real.backend(*target);
        let real = backend.receive(op, volume, real_base.as_ref(), &real_to, &size.into()).await;
        let token = |receiver: &dyn Receiver| match receiver.resume_token() {
            Some(_) => "goes on".to_owned(),
            None => "begins".to_owned(),
        };
        let asked = format!("node {target}, {volume}, epoch {}: receive {base:?} {to:?}", op.epoch);
        let said = show(&model, |receiver| token(receiver.as_ref()));
        let truth = show(&real, |receiver| token(receiver.as_ref()));
        self.agree(&asked, model.is_ok(), &said, &truth)?;
        let (Ok(model), Ok(real)) = (model, real) else { return Ok(None) };
        let source = 1 - target;
        let model = half(&self.models[source], volume, base.as_ref(), to, model).await;
        let backend = self.real.backend(source);
        let real = half(backend, volume, real_base.as_ref(), &real_to, real).await;
        let shown = |_: &Half| "sent".to_owned();
        self.agree("  its stream", model.is_ok(), &show(&model, shown), &show(&real, shown))?;
        Ok(model.ok().zip(real.ok()))
    }

    async fn finish(&mut self, aim: &Aim, model: Half, real: Half) -> Same {
        let (model, real) = (model.finish().await, real.finish().await);
        let names = &self.names;
        let said = show(&model, |snapshot| format!("{:?}", snapshot.point));
        let truth = show(&real, |snapshot| format!("{:?}", names.model(&snapshot.point)));
        let asked = format!("node {}, {}: {} arrives", aim.target, aim.volume, aim.to.tag);
        self.done.n_arrived += u64::from(model.is_ok());
        self.agree(&asked, model.is_ok(), &said, &truth)
    }

    /// Goes on with what is held open, whatever happened meanwhile.
    pub(super) async fn go_on(&mut self) -> Same {
        let Some(Held { aim, model, real }) = self.held.take() else { return Ok(()) };
        self.finish(&aim, model, real).await
    }

    /// Drops what is held open; its bytes stay.
    pub(super) fn let_go(&mut self) {
        if self.held.take().is_some() {
            self.say("what was held open is let go");
        }
    }

    /// Waits until the filesystem has made the replica of a first receive.
    async fn wait_for(&self, aim: &Aim) {
        let deadline = Instant::now() + PATIENCE;
        let backend = self.real.backend(aim.target);
        while matches!(backend.stat(&aim.volume).await, Ok(None)) && Instant::now() < deadline {
            tokio::task::yield_now().await;
        }
    }
}

async fn half(
    source: &dyn Backend,
    volume: &VolumeId,
    base: Option<&Point>,
    to: &Point,
    receiver: Box<dyn Receiver>,
) -> Answer<Half> {
    let mut chunks = source.send(volume, base, to, receiver.resume_token().as_ref()).await?;
    let mut rest = Vec::new();
    while let Some(chunk) = chunks.next().await {
        rest.extend_from_slice(&chunk?);
    }
    Ok(Half { receiver, rest })
}

impl Half {
    async fn half(&mut self) -> Result<(), BackendError> {
        // So much at least that every format knows what is coming.
        let n_bytes = (self.rest.len() / 2).max(ENOUGH).min(self.rest.len());
        let rest = self.rest.split_off(n_bytes);
        let now = Bytes::from(std::mem::replace(&mut self.rest, rest));
        self.receiver.write(now).await
    }

    fn damage(&mut self) {
        let at = self.rest.len() / 2;
        if let Some(byte) = self.rest.get_mut(at) {
            *byte ^= 0x10;
        }
    }

    async fn finish(mut self) -> Answer<Snapshot> {
        self.receiver.write(Bytes::from(self.rest)).await?;
        self.receiver.finish().await
    }
}
