//! One sequence: what a step asks for, and what both said to it.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicU64, Ordering},
};

use flocker_model::{
    ByteSize, Epoch, Guid, OperationId, Point, Role, SnapshotTag, VolumeId, VolumeState,
};
use flocker_ports::{Attachment, Backend, BackendError, Change, Op, ResumeToken};

use super::{
    Done, NODES, Real,
    answers::{self, Answer, NOBODYS, Names, show},
    draw::Draw,
    transfer::Held,
};
use crate::SimBackend;

/// Volumes of one sequence. Few, so that most steps meet what earlier ones did.
const VOLUMES: usize = 3;
/// Names of snapshots. Few, so that names meet that stand for different things.
const TAGS: usize = 12;
/// Everything is compared after that many steps; what a step is about, after each.
const LISTED_EVERY: usize = 50;
const FILES: [&str; 3] = ["a", "b", "c"];

/// The two said different things.
#[derive(Debug)]
pub(super) struct Difference(String);

pub(super) type Same = Result<(), Difference>;

/// A change that is asked for with a volume alone, or a little more.
#[derive(Debug, Clone)]
enum Ask {
    Create(ByteSize),
    Clone(VolumeId, Point),
    Rollback(Point, VolumeId),
    Resize(ByteSize),
    Destroy,
    DestroySnapshots(Vec<Point>),
    Seal,
    Unseal,
    Promote(Point),
    Retire(Point),
    AbortReceive,
}

/// Both storages and what was asked of them.
pub(super) struct Run<'a> {
    pub(super) real: &'a mut dyn Real,
    pub(super) models: [SimBackend; NODES],
    pub(super) names: Names,
    pub(super) held: Option<Held>,
    pub(super) done: Done,
    prefix: String,
    volumes: Vec<VolumeId>,
    /// Copies of which somebody else took snapshots.
    meddled: BTreeSet<(usize, VolumeId)>,
    log: Vec<String>,
    n_steps: usize,
}

impl<'a> Run<'a> {
    pub(super) fn new(real: &'a mut dyn Real, seed: u64) -> Self {
        // What an earlier attempt could not remove is in nobody's way.
        static ATTEMPTS: AtomicU64 = AtomicU64::new(0);
        let prefix = format!("d{seed:x}-{}-", ATTEMPTS.fetch_add(1, Ordering::Relaxed));
        let volumes = (0..VOLUMES).filter_map(|n| VolumeId::new(format!("{prefix}{n}")).ok());
        Self {
            real,
            models: ["m0", "m1"].map(|node| SimBackend::new(node, ByteSize::gib(64))),
            names: Names::default(),
            held: None,
            done: Done::default(),
            volumes: volumes.collect(),
            prefix,
            meddled: BTreeSet::new(),
            log: Vec::new(),
            n_steps: 0,
        }
    }

    /// What was asked and answered, and where it ends.
    pub(super) fn story(&self, Difference(difference): &Difference) -> String {
        format!("{}\n{difference}", self.log.join("\n"))
    }

    pub(super) async fn step(&mut self, number: u64) -> Same {
        use Role::{Live, Replica, Sealed};
        let mut draw = Draw::new(number);
        self.n_steps += 1;
        let verb = draw.below(36);
        let fitting: &[Role] = match verb {
            3..=11 => &[Live, Sealed],
            12..=13 | 33..=34 => &[Live],
            14 | 18..=19 => &[Sealed],
            15..=17 => &[Replica, Sealed],
            28 => &[Replica],
            _ => &[],
        };
        let (node, volume) = self.choose(&mut draw, fitting).await;
        let granted = self.done.n_granted;
        match verb {
            0..=2 => self.create(&mut draw, node, &volume).await?,
            3 => self.ask(&mut draw, node, &volume, Ask::Resize(size(number))).await?,
            4..=6 => self.write(&mut draw, node, &volume).await?,
            7..=9 => self.snapshot(&mut draw, node, &volume).await?,
            10..=11 => self.destroy_snapshots(&mut draw, node, &volume).await?,
            12..=13 => self.ask(&mut draw, node, &volume, Ask::Seal).await?,
            14 => self.ask(&mut draw, node, &volume, Ask::Unseal).await?,
            15..=17 => self.promote(&mut draw, node, &volume).await?,
            18..=19 => self.retire(&mut draw, node, &volume).await?,
            20..=25 => return self.transfer(&mut draw, node, &volume).await,
            26 => return self.go_on().await,
            27 => self.refuse_to_send(&mut draw, node, &volume).await?,
            28 => self.ask(&mut draw, node, &volume, Ask::AbortReceive).await?,
            29 => self.destroy(&mut draw, node, &volume).await?,
            30 => self.meddle(node, &volume).await,
            31..=32 => self.clone_volume(&mut draw, node, &volume).await?,
            33..=34 => self.rollback(&mut draw, node, &volume).await?,
            _ => self.reopen(&mut draw, node).await?,
        }
        self.compare(node, &volume, granted != self.done.n_granted).await?;
        if self.n_steps.is_multiple_of(LISTED_EVERY) {
            self.compare_everything().await?;
        }
        Ok(())
    }

    /// A copy of a volume, mostly one of those roles, where there is one.
    async fn choose(&self, draw: &mut Draw, roles: &[Role]) -> (usize, VolumeId) {
        let any = (draw.below(NODES), self.volumes[draw.below(VOLUMES)].clone());
        let mut fitting = Vec::new();
        for (node, model) in self.models.iter().enumerate() {
            let listed = model.volumes().await.unwrap_or_default();
            let fit = listed.into_iter().filter(|state| roles.contains(&state.role));
            fitting.extend(fit.map(|state| (node, state.id)));
        }
        if draw.one_in(5) { any } else { draw.one_of(&fitting).cloned().unwrap_or(any) }
    }

    /// Mostly where no other node has it: else nothing can be sent.
    async fn create(&mut self, draw: &mut Draw, node: usize, volume: &VolumeId) -> Same {
        let elsewhere = self.model_state(1 - node, volume).await.is_some();
        if elsewhere && !draw.one_in(8) {
            return Ok(());
        }
        let size = size(draw.number());
        self.ask(draw, node, volume, Ask::Create(size)).await
    }

    /// Mostly where no node has it, as with [`Run::create`].
    async fn clone_volume(&mut self, draw: &mut Draw, node: usize, volume: &VolumeId) -> Same {
        let source = draw.one_of(&self.volumes).cloned().unwrap_or_else(|| volume.clone());
        let at = self.at(draw, node, &source).await;
        let elsewhere = self.model_state(1 - node, volume).await.is_some();
        if elsewhere && !draw.one_in(8) {
            return Ok(());
        }
        self.ask(draw, node, volume, Ask::Clone(source, at)).await
    }

    async fn rollback(&mut self, draw: &mut Draw, node: usize, volume: &VolumeId) -> Same {
        let points = self.model_points(node, volume).await;
        let at = self.at(draw, node, volume).await;
        let to = draw.one_of(&points).cloned().filter(|_| !draw.one_in(4)).unwrap_or(at);
        let kept = draw.one_of(&self.volumes).cloned().unwrap_or_else(|| volume.clone());
        // What somebody else has in it may be in either afterwards.
        if self.meddled.contains(&(node, volume.clone())) {
            self.meddled.insert((node, kept.clone()));
        }
        self.ask(draw, node, volume, Ask::Rollback(to, kept.clone())).await?;
        self.compare(node, &kept, true).await
    }

    pub(super) fn volumes(&self) -> Vec<VolumeId> {
        self.volumes.clone()
    }

    pub(super) fn say(&mut self, what: &str) {
        self.log.push(format!("  {what}"));
    }

    /// Notes what was answered; both must have said the same.
    pub(super) fn agree(&mut self, asked: &str, granted: bool, model: &str, real: &str) -> Same {
        self.done.n_operations += 1;
        self.done.n_granted += u64::from(granted);
        if model == real {
            self.say(&format!("{asked}: {model}"));
            return Ok(());
        }
        Err(Difference(format!("  {asked}\n    the model: {model}\n    the real one: {real}")))
    }

    pub(super) async fn model_state(&self, node: usize, volume: &VolumeId) -> Option<VolumeState> {
        self.models[node].stat(volume).await.ok().flatten()
    }

    /// As the model has them, oldest first.
    pub(super) async fn model_points(&self, node: usize, volume: &VolumeId) -> Vec<Point> {
        let listed = self.models[node].snapshots(volume).await.unwrap_or_default();
        listed.into_iter().map(|snapshot| snapshot.point).collect()
    }

    /// An operation that is mostly the one that the volume waits for: the present epoch, or `ahead` of it.
    pub(super) async fn op(
        &self,
        draw: &mut Draw,
        node: usize,
        volume: &VolumeId,
        ahead: u64,
    ) -> Op {
        let now = self.model_state(node, volume).await.map_or(1, |state| state.epoch.0);
        let epoch = match draw.below(10) {
            0..=6 => now + ahead,
            7 => now + 1,
            8 => now.saturating_sub(1),
            _ => now + 2 * u64::from(draw.one_in(2)),
        };
        operation(Epoch(epoch))
    }

    /// A snapshot that is mostly the newest.
    async fn at(&self, draw: &mut Draw, node: usize, volume: &VolumeId) -> Point {
        let here = self.model_points(node, volume).await;
        let other = self.model_points(1 - node, volume).await;
        let chosen = match draw.below(10) {
            0..=6 => here.last(),
            7 => draw.one_of(&here),
            8 => draw.one_of(&other),
            _ => None,
        };
        chosen.cloned().unwrap_or_else(|| Point { tag: tag(draw), guid: Guid(NOBODYS.to_owned()) })
    }

    async fn ask(&mut self, draw: &mut Draw, node: usize, volume: &VolumeId, ask: Ask) -> Same {
        let ahead = match ask {
            Ask::Promote(_) | Ask::Retire(_) => 1,
            Ask::Create(_)
            | Ask::Clone(..)
            | Ask::Rollback(..)
            | Ask::Resize(_)
            | Ask::Destroy
            | Ask::DestroySnapshots(_)
            | Ask::Seal
            | Ask::Unseal
            | Ask::AbortReceive => 0,
        };
        let op = self.op(draw, node, volume, ahead).await;
        // The same operation may ask again, and is answered as if nothing had been lost.
        for _ in 0..1 + usize::from(draw.one_in(4)) {
            let model = carry_out(&self.models[node], &op, volume, &ask, Point::clone).await;
            let names = &self.names;
            let translate = |point: &Point| names.real(point);
            let real = carry_out(self.real.backend(node), &op, volume, &ask, translate).await;
            let change = |change: &Change| answers::change(*change);
            let (said, truth) = (show(&model, change), show(&real, change));
            let asked = format!("node {node}, {volume}, epoch {}: {ask:?}", op.epoch);
            self.agree(&asked, model.is_ok(), &said, &truth)?;
        }
        Ok(())
    }

    /// Attaches and writes, or reads where that is refused to writers.
    async fn write(&mut self, draw: &mut Draw, node: usize, volume: &VolumeId) -> Same {
        let op = self.op(draw, node, volume, 0).await;
        let model = self.models[node].attach(&op, volume).await;
        let real = self.real.backend(node).attach(&op, volume).await;
        let shown = |_: &Attachment| "attached".to_owned();
        let asked = format!("node {node}, {volume}, epoch {}: attach", op.epoch);
        self.agree(&asked, model.is_ok(), &show(&model, shown), &show(&real, shown))?;
        let (Ok(model), Ok(real)) = (model, real) else { return Ok(()) };
        for name in FILES {
            let read = |bytes: std::io::Result<Vec<u8>>| bytes.map_err(|error| error.kind());
            let said = read(self.models[node].read_file(&model, name).map(Into::into));
            let truth = read(self.real.content(node).read(&real, name));
            if said != truth {
                let short = |read: Result<Vec<u8>, _>| read.map(|bytes| bytes.len());
                let (said, truth) = (short(said), short(truth));
                let asked = format!("node {node}, {volume}: the content of file `{name}`");
                return Err(Difference(format!("  {asked}: {said:?} or {truth:?} bytes")));
            }
        }
        let (name, n) = (FILES[draw.below(FILES.len())], 1000 + draw.below(60_000));
        let bytes = draw.noise(n);
        let said = self.models[node].write_file(&model, name, &bytes).is_ok();
        let truth = self.real.content(node).write(&real, name, &bytes).is_ok();
        let asked = format!("node {node}, {volume}: write {n} bytes to `{name}`");
        self.agree(&asked, said, &said.to_string(), &truth.to_string())
    }

    async fn snapshot(&mut self, draw: &mut Draw, node: usize, volume: &VolumeId) -> Same {
        let op = self.op(draw, node, volume, 0).await;
        let mut volumes = vec![volume.clone()];
        if draw.one_in(3) {
            volumes.extend(draw.one_of(&self.volumes).cloned());
        }
        let tag = tag(draw);
        let model = self.models[node].snapshot(&op, &volumes, &tag).await;
        let real = self.real.backend(node).snapshot(&op, &volumes, &tag).await;
        if let (Ok(model), Ok(real)) = (&model, &real) {
            for (model, real) in model.iter().zip(real) {
                self.names.meet(&model.point.guid, &real.point.guid);
            }
        }
        let (said, truth) = (self.listed(&model, false), self.listed(&real, true));
        let asked = format!("node {node}, {volumes:?}, epoch {}: snapshot `{tag}`", op.epoch);
        self.agree(&asked, model.is_ok(), &said, &truth)
    }

    fn listed(&self, answer: &Answer<Vec<flocker_model::Snapshot>>, real: bool) -> String {
        show(answer, |listed| {
            let translate =
                |point: &Point| if real { self.names.model(point) } else { point.clone() };
            let translated: Vec<Point> = listed.iter().map(|one| translate(&one.point)).collect();
            answers::points(translated.iter())
        })
    }

    async fn destroy_snapshots(&mut self, draw: &mut Draw, node: usize, volume: &VolumeId) -> Same {
        let mut which = vec![self.at(draw, node, volume).await];
        which.extend(draw.one_of(&self.model_points(node, volume).await).cloned());
        let live =
            matches!(self.model_state(node, volume).await, Some(state) if state.role == Role::Live);
        let keeps_newest = !live || self.real.is_wary();
        if keeps_newest && let Some(newest) = self.model_points(node, volume).await.pop() {
            // It is what the copy is, and what comes next stands on it.
            which.retain(|point| *point != newest);
        }
        self.ask(draw, node, volume, Ask::DestroySnapshots(which)).await
    }

    async fn promote(&mut self, draw: &mut Draw, node: usize, volume: &VolumeId) -> Same {
        let at = self.at(draw, node, volume).await;
        self.ask(draw, node, volume, Ask::Promote(at)).await
    }

    async fn retire(&mut self, draw: &mut Draw, node: usize, volume: &VolumeId) -> Same {
        let at = self.at(draw, node, volume).await;
        self.ask(draw, node, volume, Ask::Retire(at)).await
    }

    async fn destroy(&mut self, draw: &mut Draw, node: usize, volume: &VolumeId) -> Same {
        // Volumes would hardly live long enough to go anywhere.
        if !draw.one_in(2) {
            return Ok(());
        }
        self.make_up(node, volume);
        self.ask(draw, node, volume, Ask::Destroy).await
    }

    async fn refuse_to_send(&mut self, draw: &mut Draw, node: usize, volume: &VolumeId) -> Same {
        let here = self.model_points(node, volume).await;
        let nobodys = Point { tag: tag(draw), guid: Guid(NOBODYS.to_owned()) };
        let token = ResumeToken("nonsense".to_owned());
        let (base, to, resume) = match (draw.below(3), here.last()) {
            (0, Some(newest)) => (Some(&nobodys), newest, None),
            (1, Some(newest)) => (None, newest, Some(&token)),
            (_, _) => (None, &nobodys, None),
        };
        let (real_base, real_to) = (base.map(|base| self.names.real(base)), self.names.real(to));
        let model = self.models[node].send(volume, base, to, resume).await.map(drop);
        let backend = self.real.backend(node);
        let real = backend.send(volume, real_base.as_ref(), &real_to, resume).await.map(drop);
        let shown = |()| "sent".to_owned();
        let asked = format!("node {node}, {volume}: send {base:?} {to:?} {resume:?}");
        self.agree(
            &asked,
            model.is_ok(),
            &show(&model, |()| shown(())),
            &show(&real, |()| shown(())),
        )
    }

    async fn meddle(&mut self, node: usize, volume: &VolumeId) {
        // What a first receive left is no filesystem yet that anybody could take a snapshot of.
        let Some(state) = self.model_state(node, volume).await else { return };
        if state.role != Role::Replica || !self.model_points(node, volume).await.is_empty() {
            self.real.meddle(node, volume);
            self.meddled.insert((node, volume.clone()));
            self.say(&format!("node {node}, {volume}: somebody else takes a snapshot"));
        }
    }

    fn make_up(&mut self, node: usize, volume: &VolumeId) {
        if self.meddled.remove(&(node, volume.clone())) {
            self.real.make_up(node, volume);
        }
    }

    async fn reopen(&mut self, draw: &mut Draw, node: usize) -> Same {
        // It takes long, next to everything else.
        if !draw.one_in(3) {
            return Ok(());
        }
        self.let_go();
        self.real.reopen(node).await;
        self.say(&format!("node {node}: opened again"));
        self.compare_everything().await
    }

    /// What both know of one volume.
    pub(super) async fn compare(&mut self, node: usize, volume: &VolumeId, changed: bool) -> Same {
        let states =
            (self.models[node].stat(volume).await, self.real.backend(node).stat(volume).await);
        let state =
            |state: &Option<VolumeState>| state.as_ref().map_or("none".to_owned(), answers::volume);
        let (said, truth) = (show(&states.0, state), show(&states.1, state));
        let (mut said, mut truth) = (said, truth);
        if changed {
            let model = self.models[node].snapshots(volume).await;
            let real = self.real.backend(node).snapshots(volume).await;
            said = format!("{said}, {}", self.listed(&model, false));
            truth = format!("{truth}, {}", self.listed(&real, true));
        }
        if said == truth {
            return Ok(());
        }
        let all = format!(
            "  node {node}, {volume} afterwards\n    the model: {said}\n    the real one: {truth}"
        );
        Err(Difference(all))
    }

    /// What both know of everything.
    pub(super) async fn compare_everything(&mut self) -> Same {
        for node in 0..NODES {
            let ours = |listed: &Vec<VolumeState>| {
                let ours =
                    listed.iter().filter(|state| state.id.as_str().starts_with(&self.prefix));
                let mut shown: Vec<_> = ours.map(answers::volume).collect();
                shown.sort();
                shown.join("; ")
            };
            let said = show(&self.models[node].volumes().await, ours);
            let truth = show(&self.real.backend(node).volumes().await, ours);
            self.agree(&format!("node {node}: the list of volumes"), true, &said, &truth)?;
            for volume in self.volumes.clone() {
                self.compare(node, &volume, true).await?;
            }
        }
        Ok(())
    }

    /// Removes what the sequence left, whatever state it is in.
    pub(super) async fn clear(mut self) {
        self.let_go();
        let op = operation(Epoch(u64::MAX >> 1));
        for node in 0..NODES {
            for volume in self.volumes.clone() {
                self.make_up(node, &volume);
                let backend = self.real.backend(node);
                if !matches!(backend.stat(&volume).await, Ok(None)) {
                    let _ = backend.destroy(&op, &volume).await;
                }
            }
        }
    }
}

async fn carry_out(
    backend: &dyn Backend,
    op: &Op,
    volume: &VolumeId,
    ask: &Ask,
    translate: impl Fn(&Point) -> Point,
) -> Result<Change, BackendError> {
    match ask {
        Ask::Create(size) => backend.create(op, volume, &(*size).into(), None).await,
        Ask::Clone(source, at) => backend.clone_volume(op, source, &translate(at), volume).await,
        Ask::Rollback(to, kept) => backend.rollback(op, volume, &translate(to), kept).await,
        Ask::Resize(size) => backend.resize(op, volume, *size).await,
        Ask::Destroy => backend.destroy(op, volume).await,
        Ask::DestroySnapshots(which) => {
            let which: Vec<Point> = which.iter().map(translate).collect();
            backend.destroy_snapshots(op, volume, &which).await
        }
        Ask::Seal => backend.seal(op, volume).await,
        Ask::Unseal => backend.unseal(op, volume).await,
        Ask::Promote(at) => backend.promote(op, volume, &translate(at)).await,
        Ask::Retire(at) => backend.retire(op, volume, &translate(at)).await,
        Ask::AbortReceive => backend.abort_receive(op, volume).await,
    }
}

pub(super) fn operation(epoch: Epoch) -> Op {
    #[expect(clippy::expect_used, reason = "it is a constant")]
    let id = OperationId::new("differential").expect("a name");
    Op { id, epoch }
}

pub(super) fn size(number: u64) -> ByteSize {
    ByteSize::mib(64 + 32 * (number % 3))
}

fn tag(draw: &mut Draw) -> SnapshotTag {
    #[expect(clippy::expect_used, reason = "all of them are names")]
    SnapshotTag::new(format!("t{}", draw.below(TAGS))).expect("a name")
}
