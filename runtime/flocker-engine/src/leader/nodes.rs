//! What the nodes say of themselves, asked again and again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use flocker_model::{NodeName, Revision, Timestamp, VolumeId};
use flocker_planner::plan::{AppSeen, NodeSeen};
use flocker_ports::Observation;
use futures::{StreamExt as _, stream::FuturesUnordered};
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use super::Leader;
use crate::cluster::State;

/// Every node is asked this often.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// A node that does not answer within this time did not answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// A node is taken for alive so long after its last answer: two answers may be lost.
pub const ALIVE: Duration = Duration::from_secs(5);

/// What a node said last, and when.
#[derive(Debug, Clone)]
pub struct Seen {
    /// When it said so.
    pub at: Instant,
    /// The revision of the records when it was asked.
    pub asked: Revision,
    /// What it said.
    pub observation: Observation,
}

impl Seen {
    /// Whether it is taken for alive.
    #[must_use]
    pub fn alive(&self) -> bool {
        self.at.elapsed() < ALIVE
    }
}

/// What all nodes said.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    seen: Mutex<BTreeMap<NodeName, Seen>>,
    /// When each node was asked first, whether it answered or not.
    asked: Mutex<BTreeMap<NodeName, Instant>>,
    /// Something changed on the nodes: what they said last is out of date.
    changed: Notify,
}

impl Nodes {
    /// Asks all nodes now instead of at their next turn.
    pub(crate) fn ask_now(&self) {
        self.changed.notify_waiters();
    }

    /// What one node said last.
    pub(crate) fn of(&self, node: &NodeName) -> Option<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(node).cloned()
    }

    /// Whether a node is taken for alive.
    pub(crate) fn alive(&self, node: &NodeName) -> bool {
        self.of(node).is_some_and(|seen| seen.alive())
    }

    /// When a node that is no longer taken for alive was heard last, or asked first.
    pub(super) fn silent_since(&self, node: &NodeName) -> Option<Instant> {
        let heard = self.of(node).map(|seen| seen.at);
        let asked = || self.asked.lock().unwrap_or_else(PoisonError::into_inner).get(node).copied();
        heard.or_else(asked).filter(|last| last.elapsed() >= ALIVE)
    }

    /// Returns when the node has not answered for as long as it takes to be no longer taken for alive.
    pub(super) async fn silent(&self, node: &NodeName) {
        let asked = Instant::now();
        loop {
            let last = self.of(node).map_or(asked, |seen| seen.at.max(asked));
            if last.elapsed() >= ALIVE {
                return;
            }
            tokio::time::sleep_until(last + ALIVE).await;
        }
    }

    /// The nodes that said that they hold a copy of the volume, whatever the records say.
    pub(crate) fn holders(&self, volume: &VolumeId) -> BTreeSet<NodeName> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let holds = |s: &Seen| s.observation.volumes.iter().flatten().any(|v| v.id == *volume);
        seen.iter().filter(|(_, s)| holds(s)).map(|(name, _)| name.clone()).collect()
    }

    /// Notes down when a node was asked; says whether that was the first time.
    fn first_asked(&self, node: &NodeName, at: Instant) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let first = !asked.contains_key(node);
        asked.entry(node.clone()).or_insert(at);
        first
    }

    /// Whoever is added under this name later is another node.
    fn forget(&self, node: &NodeName) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).remove(node);
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).remove(node);
    }

    /// Whether every node was asked: a leader that has just begun knows nothing, which is not the same as nobody there.
    pub(super) fn all_heard(&self, state: &State) -> bool {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        state.nodes.keys().all(|node| asked.contains_key(node))
    }

    pub(super) fn seen_by_planner(&self, state: &State) -> BTreeMap<NodeName, NodeSeen> {
        let known = |(name, node): (&NodeName, &crate::cluster::Versioned<flocker_model::Node>)| {
            let seen = self.of(name);
            let alive = seen.as_ref().is_some_and(Seen::alive);
            let asked = seen.as_ref().map(|s| s.asked).unwrap_or_default();
            let said = seen.map(|s| s.observation).unwrap_or_default();
            let held = |a: flocker_ports::ObservedApp| AppSeen {
                name: a.app,
                epoch: a.epoch,
                kept: a.kept,
            };
            let apps = said.apps.map(|apps| apps.into_iter().map(held).collect());
            let known = NodeSeen {
                node: node.value.clone(),
                alive,
                asked,
                stats: said.stats,
                volumes: said.volumes,
                written: said.written,
                apps,
            };
            (name.clone(), known)
        };
        state.nodes.iter().map(known).collect()
    }
}

/// What was written when, by the clock by which snapshots are taken: the node's may go wrong, and a schedule that
/// compares the two would never find anything due, or everything.
fn in_our_time(observation: &mut Observation, now: Timestamp) {
    let theirs = observation.stats.at;
    for written in observation.written.values_mut() {
        let ago = u64::try_from(theirs.since(*written).as_millis()).unwrap_or(u64::MAX);
        *written = Timestamp(now.0.saturating_sub(ago));
    }
}

impl Leader {
    /// Asks every node again and again, each on its own: one that hangs delays nobody.
    pub(super) async fn watch_nodes(self, stop: CancellationToken) {
        let mut followed = self.inner.parts.followed.clone();
        let mut asking = FuturesUnordered::new();
        let mut watched = BTreeSet::new();
        loop {
            let state = followed.borrow_and_update().clone();
            for node in state.iter().flat_map(|s| s.nodes.keys()) {
                if watched.insert(node.clone()) {
                    asking.push(self.ask_for_ever(node.clone()));
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                Ok(()) = followed.changed() => {}
                Some(gone) = asking.next() => drop(watched.remove(&gone)),
            }
        }
    }

    /// What a node sees right now; `None`: it does not say.
    pub(super) async fn look_at(&self, node: &NodeName) -> Option<Observation> {
        let state = self.inner.parts.followed.borrow().clone();
        let record = state.as_ref().and_then(|s| s.nodes.get(node))?;
        let peer = self.inner.parts.peers.peer(&record.value);
        tokio::time::timeout(ANSWER_WITHIN, peer.observe()).await.ok()?.ok()
    }

    /// Returns when the node does not belong to the cluster any more.
    async fn ask_for_ever(&self, node: NodeName) -> NodeName {
        loop {
            let state = self.inner.parts.followed.borrow().clone();
            let Some(record) = state.as_ref().and_then(|s| s.nodes.get(&node)) else {
                self.inner.nodes.forget(&node);
                return node;
            };
            let peer = self.inner.parts.peers.peer(&record.value);
            let asked = state.as_ref().map(|s| s.revision).unwrap_or_default();
            let began = Instant::now();
            let answer = tokio::time::timeout(ANSWER_WITHIN, peer.observe()).await;
            let before = self.inner.nodes.alive(&node);
            if let Ok(Ok(mut observation)) = answer {
                in_our_time(&mut observation, self.inner.parts.clock.now());
                let seen = Seen { at: Instant::now(), asked, observation };
                self.inner
                    .nodes
                    .seen
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(node.clone(), seen);
            }
            let first = self.inner.nodes.first_asked(&node, began);
            let after = self.inner.nodes.alive(&node);
            if first || before != after {
                tracing::info!(%node, alive = after, "a node was asked");
                self.wake();
            }
            tokio::select! {
                () = tokio::time::sleep(ASK_EVERY) => {}
                () = self.inner.nodes.changed.notified() => {}
            }
        }
    }
}
