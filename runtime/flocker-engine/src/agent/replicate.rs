//! Keeps the replicas of this node's volumes up to date, for as long as the records say so. What is done next decides
//! [`Keeper`]; this carries it out. It needs no leader: like routes, duties follow from the records that every node reads.

mod together;

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError},
    time::Duration,
};

use flocker_model::{Epoch, NodeName, OperationId, Point, Role, Timestamp, Volume, VolumeId};
use flocker_planner::replicas::{Command, Event, Failure, GroupId, Keeper, News, What, duties};
use flocker_ports::{
    Op, Order, PeerError, PeerErrorKind, Progress, ReplicaSeen, ReplicationError, Reply, SendJob,
    Sent, Step,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Agent, StepError};
use crate::{
    cluster::State,
    follower::Followed,
    leader::{Peers, snapshots_in, upkeep::lock_of},
};

/// How often is looked what is due, at the least.
const ROUND: Duration = Duration::from_millis(250);

/// A node that hangs with a small request is given up after this time, and asked again later.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// One copy on another node.
type CopyId = (VolumeId, NodeName);

/// What is known of the streams to it.
#[derive(Debug, Default)]
struct Streams {
    sent: Sent,
    now: Option<Progress>,
}

/// What came of a task.
#[derive(Debug, Default)]
struct Done {
    events: Vec<Event>,
    /// What could not be done for all together, and is done for each alone now: one that hangs or fails is only itself then.
    alone: Vec<Command>,
}

impl Done {
    fn news(&mut self, group: &GroupId, news: News) {
        self.events.push(Event { group: group.clone(), news });
    }
}

struct Replicator {
    agent: Agent,
    peers: Arc<dyn Peers>,
    keeper: Keeper,
    /// What is under way. What is for one group ends when that is no duty any more; snapshots are taken and removed of several
    /// at once, and one more or less does no harm.
    tasks: JoinSet<Done>,
    groups: BTreeMap<GroupId, CancellationToken>,
    streams: BTreeMap<CopyId, Streams>,
}

impl Agent {
    /// Keeps replicas up to date until cancelled; what is under way then is dropped where it is, as in a crash.
    pub async fn replicate(
        &self,
        mut followed: Followed,
        peers: Arc<dyn Peers>,
        stop: CancellationToken,
    ) {
        let mut replicator = Replicator {
            agent: self.clone(),
            peers,
            keeper: Keeper::default(),
            tasks: JoinSet::new(),
            groups: BTreeMap::new(),
            streams: BTreeMap::new(),
        };
        let mut known: Option<Arc<State>> = None;
        loop {
            let state = followed.borrow_and_update().clone();
            if let Some(state) = state {
                if known.as_ref().is_none_or(|known| !Arc::ptr_eq(known, &state)) {
                    replicator.set_duties(&state);
                }
                replicator.go_on(&state);
                known = Some(state);
            }
            replicator.publish();
            tokio::select! {
                () = stop.cancelled() => return,
                Ok(()) = followed.changed() => {}
                Some(done) = replicator.tasks.join_next() => {
                    replicator.take_in(done, known.as_ref());
                    // All that ended meanwhile is thought over at once.
                    while let Some(done) = replicator.tasks.try_join_next() {
                        replicator.take_in(done, known.as_ref());
                    }
                }
                () = tokio::time::sleep(ROUND) => {}
            }
        }
    }

    pub(super) fn replicas_seen(&self) -> Vec<ReplicaSeen> {
        self.inner.replicas.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Replicator {
    fn now(&self) -> Timestamp {
        self.agent.inner.parts.clock.now()
    }

    fn set_duties(&mut self, state: &State) {
        let is_held = |app: &flocker_model::AppName| {
            // One that is not read yet may be on its way elsewhere.
            state.apps.get(app).is_none_or(|record| record.value.operation.is_some())
        };
        let volumes = state.volumes.values().map(|volume| &volume.value);
        self.keeper.set_duties(duties(&self.agent.inner.parts.node, volumes, is_held));
        self.groups.retain(|group, stop| {
            let known = self.keeper.knows(group);
            if !known {
                stop.cancel();
            }
            known
        });
    }

    fn go_on(&mut self, state: &Arc<State>) {
        let commands = self.keeper.next(self.now());
        let (mut takes, mut prunes, mut others) = (vec![], vec![], vec![]);
        for command in commands {
            match &command.what {
                What::Take { .. } => takes.push(command),
                What::Remove { on: None, .. } => prunes.push(command),
                What::List { .. } | What::Ask { .. } | What::Send { .. } | What::Remove { .. } => {
                    others.push(command);
                }
            }
        }
        if !takes.is_empty() {
            let agent = self.agent.clone();
            self.tasks.spawn(async move { agent.take_together(takes).await });
        }
        if !prunes.is_empty() {
            let agent = self.agent.clone();
            self.tasks.spawn(async move { agent.prune_together(prunes).await });
        }
        self.each(state, others);
    }

    /// Begins what is done for each on its own.
    fn each(&mut self, state: &Arc<State>, commands: Vec<Command>) {
        for Command { group, what } in commands {
            let stop = self.groups.entry(group.clone()).or_default().clone();
            let mut progress = None;
            if let What::Send { volume, receiver, .. } = &what {
                let streams =
                    self.streams.entry((volume.id.clone(), receiver.clone())).or_default();
                progress = Some(streams.now.insert(Progress::default()).clone());
            }
            let work = Work {
                agent: self.agent.clone(),
                peers: self.peers.clone(),
                state: state.clone(),
                progress: progress.unwrap_or_default(),
            };
            self.tasks.spawn(async move {
                let news = tokio::select! {
                    biased;
                    // Nobody listens any more.
                    () = stop.cancelled() => what.unanswered("it was given up"),
                    news = work.carry_out(what.clone()) => news,
                };
                Done { events: vec![Event { group, news }], ..Done::default() }
            });
        }
    }

    fn take_in(&mut self, done: Result<Done, tokio::task::JoinError>, state: Option<&Arc<State>>) {
        let Done { events, mut alone } = done.unwrap_or_default();
        for event in events {
            self.take_in_one(event);
        }
        alone.retain(|command| self.keeper.knows(&command.group));
        if let Some(state) = state {
            self.each(state, alone);
        }
    }

    fn take_in_one(&mut self, event: Event) {
        let now = self.now();
        if let News::Sent { volume, receiver, result, .. } = &event.news {
            let streams = self.streams.entry((volume.clone(), receiver.clone())).or_default();
            let progress = streams.now.take().unwrap_or_default();
            streams.sent.bytes.0 += progress.bytes().0;
            if result.is_ok() {
                streams.sent.snapshots += 1;
                streams.sent.last = Some(progress.elapsed());
            }
        }
        self.keeper.handle(now, event);
    }

    /// Lets whoever asks the agent know how the replicas stand.
    fn publish(&mut self) {
        let now = self.now();
        let seen = |standing: flocker_planner::replicas::Standing| {
            let id = (standing.volume, standing.receiver);
            let streams = self.streams.get(&id);
            ReplicaSeen {
                at: standing.at,
                behind: standing.until.map(|until| now.since(until)),
                // Asked of the storage when somebody looks.
                lacks: None,
                sending: streams.and_then(|s| s.now.as_ref()).map(Progress::bytes),
                sent: streams.map(|s| s.sent).unwrap_or_default(),
                trouble: standing.trouble,
                volume: id.0,
                node: id.1,
            }
        };
        let seen: Vec<_> = self.keeper.standings().into_iter().map(seen).collect();
        self.streams.retain(|id, streams| {
            streams.now.is_some() || seen.iter().any(|r| r.volume == id.0 && r.node == id.1)
        });
        *self.agent.inner.replicas.lock().unwrap_or_else(PoisonError::into_inner) = seen;
    }
}

/// What one command needs.
struct Work {
    agent: Agent,
    peers: Arc<dyn Peers>,
    state: Arc<State>,
    progress: Progress,
}

impl Work {
    async fn carry_out(&self, what: What) -> News {
        match what {
            What::List { volume } => {
                let points = in_time(self.list(&volume)).await.map_err(|e| text(&e));
                News::Listed { volume: volume.id.clone(), points }
            }
            What::Take { volumes, tag, .. } => {
                let taken = in_time(self.agent.take_alone(&volumes, &tag)).await;
                News::Taken { points: taken.map(Some).map_err(|failure| text(&failure)) }
            }
            What::Ask { volume, receiver } => {
                let step = Step::ListSnapshots { volume: (&*volume).into() };
                let held = in_time(self.tell(&receiver, &volume, step)).await;
                let points = held.map(|reply| {
                    let listed = snapshots_in(reply).unwrap_or_default();
                    listed.into_iter().map(|snapshot| snapshot.point).collect()
                });
                News::Held { volume: volume.id.clone(), receiver, points }
            }
            What::Send { volume, receiver, base, to } => {
                let result = self.send(&volume, &receiver, base, to.clone()).await;
                News::Sent { volume: volume.id.clone(), receiver, to, result }
            }
            What::Remove { volume, on, which } => {
                let result = in_time(self.remove(&volume, on.as_ref(), &which)).await;
                News::Removed { volume: volume.id.clone(), on, which, result }
            }
        }
    }

    /// The snapshots of the volume here, if it is this node's to send.
    async fn list(&self, volume: &Volume) -> Result<Vec<Point>, Failure> {
        let backend = &self.agent.inner.parts.backend;
        let copy = backend.stat(&volume.id).await.map_err(here)?;
        if !copy.is_some_and(|copy| copy.role == Role::Live && copy.epoch == volume.epoch) {
            return Err(Failure::Here("this node has no writable copy of it yet".to_owned()));
        }
        let mut points = backend.bookmarks(&volume.id).await.map_err(here)?;
        let snapshots = backend.snapshots(&volume.id).await.map_err(here)?;
        points.extend(snapshots.into_iter().map(|snapshot| snapshot.point));
        Ok(points)
    }

    async fn send(
        &self,
        volume: &Volume,
        receiver: &NodeName,
        base: Option<Point>,
        to: Point,
    ) -> Result<(), Failure> {
        let job = SendJob {
            operation: operation(),
            volume: volume.id.clone(),
            epoch: volume.epoch,
            base,
            to,
            options: volume.options.clone(),
            source: self.agent.inner.parts.node.clone(),
            target: receiver.clone(),
            address: self.record(receiver)?.replication,
            rates: volume.replication.as_ref().map(|r| r.rates.clone()).unwrap_or_default(),
        };
        let sent = self.agent.inner.parts.replication.send(&job, &self.progress).await;
        sent.map(drop).map_err(|error| match error {
            // It is not this snapshot that is refused: once the nodes know each other, the same one is wanted.
            ReplicationError::Unreachable { .. } | ReplicationError::Untrusted { .. } => {
                Failure::Away(error.to_string())
            }
            ReplicationError::Refused { .. } => Failure::Refused(error.to_string()),
            ReplicationError::Source(_) => Failure::Here(error.to_string()),
        })
    }

    async fn remove(
        &self,
        volume: &Volume,
        on: Option<&NodeName>,
        which: &[Point],
    ) -> Result<(), Failure> {
        let Some(receiver) = on else {
            let op = Op { id: operation(), epoch: volume.epoch };
            let backend = &self.agent.inner.parts.backend;
            return backend.destroy_snapshots(&op, &volume.id, which).await.map(drop).map_err(here);
        };
        let step = Step::DestroySnapshots { volume: volume.into(), which: which.to_vec() };
        self.tell(receiver, volume, step).await.map(drop)
    }

    async fn tell(
        &self,
        receiver: &NodeName,
        volume: &Volume,
        step: Step,
    ) -> Result<Reply, Failure> {
        let peer = self.peers.peer(self.record(receiver)?);
        let order = Order {
            operation: operation(),
            app: lock_of(&volume.id),
            epoch: Epoch(u64::MAX),
            revision: self.state.revision,
            step,
        };
        peer.perform(order).await.map_err(|PeerError { kind, message, .. }| match kind {
            PeerErrorKind::Unreachable => Failure::Away(message),
            PeerErrorKind::Retry | PeerErrorKind::Refused => Failure::Refused(message),
        })
    }

    fn record(&self, receiver: &NodeName) -> Result<&flocker_model::Node, Failure> {
        let known = self.state.nodes.get(receiver).map(|node| &node.value);
        known.ok_or_else(|| Failure::Refused(format!("node `{receiver}` is not in the cluster")))
    }
}

pub(super) fn operation() -> OperationId {
    crate::leader::draw().0
}

pub(super) fn here(error: impl Into<StepError>) -> Failure {
    Failure::Here(error.into().to_string())
}

pub(super) fn text(failure: &Failure) -> String {
    match failure {
        Failure::Away(reason) | Failure::Refused(reason) | Failure::Here(reason) => reason.clone(),
    }
}

pub(super) async fn in_time<T>(
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(ANSWER_WITHIN, work).await {
        Ok(done) => done,
        Err(_) => Err(Failure::Away(format!("no answer within {} s", ANSWER_WITHIN.as_secs()))),
    }
}
