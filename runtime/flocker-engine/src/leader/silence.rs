//! Asks policies what is to become of the volumes of nodes that stay silent, and writes down for people what they say.
//!
//! Never promotes anything: that needs fencing, which is not there yet. What is written down is written again only when
//! something else was decided, however often policies are asked, and goes when the node is back.

use std::{collections::BTreeMap, time::Duration};

use flocker_model::{NodeName, Timestamp};
use flocker_planner::plan::silence::{self, Silence};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Leader, draw};
use crate::{cluster::State, records::Record as _};

/// How often is looked for nodes that fell silent or are back.
const ROUND: Duration = Duration::from_secs(1);

/// When policies are asked again about a node.
type Again = BTreeMap<NodeName, Instant>;

impl Leader {
    /// Asks about silent nodes until cancelled.
    pub(super) async fn watch_silence(self, stop: CancellationToken) {
        let mut again = Again::new();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.silence_round(&mut again) => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(ROUND) => {}
            }
        }
    }

    async fn silence_round(&self, again: &mut Again) {
        let state = self.inner.parts.followed.borrow().clone();
        let Some(state) = state.filter(|state| self.inner.nodes.all_heard(state)) else { return };
        for over in state.silences.values().filter(|silence| self.is_over(&state, &silence.node)) {
            let node = &over.node;
            tracing::info!(%node, "what was decided about it while it was silent is forgotten");
            let changes = self.inner.parts.cluster.change().forget(over.key());
            if let Err(error) = self.inner.parts.cluster.commit(changes).await {
                tracing::warn!(%node, %error, "the record of its silence stays for now");
            }
        }
        let silent: BTreeMap<_, _> = state
            .nodes
            .keys()
            .filter_map(|node| Some((node, self.inner.nodes.silent_since(node)?)))
            .collect();
        again.retain(|node, _| silent.contains_key(node));
        for (node, since) in silent {
            self.ask_about(&state, node, since, again).await;
        }
    }

    /// Whether nobody needs to know any more what was decided about a node.
    fn is_over(&self, state: &State, node: &NodeName) -> bool {
        self.inner.nodes.alive(node)
            || !state.nodes.contains_key(node)
            || owned(state, node).is_empty()
    }

    async fn ask_about(&self, state: &State, node: &NodeName, since: Instant, again: &mut Again) {
        let kept = state.silences.get(node);
        let owned = owned(state, node);
        let same =
            kept.is_some_and(|k| k.fates.iter().map(|f| &f.volume).eq(owned.iter().copied()));
        let later = again.get(node).is_some_and(|at| Instant::now() < *at);
        if owned.is_empty() || (same && later) {
            return;
        }
        let Some((decided, pause)) = self.decide_about(state, node, since, kept).await else {
            return;
        };
        again.insert(node.clone(), Instant::now() + pause);
        if kept.is_some_and(|kept| kept.rules_like(&decided)) {
            return;
        }
        tracing::warn!(%node, volumes = decided.fates.len(), decision = %decided.decision, "a silent node owns volumes; `flocker explain APP` says what policies make of that");
        let cluster = &self.inner.parts.cluster;
        if let Err(error) = cluster.commit(cluster.change().put(&decided)).await {
            tracing::warn!(%node, %error, "what was decided about it is not written down yet");
        }
    }

    /// On a thread of its own, as policies may use their whole budget of time.
    async fn decide_about(
        &self,
        state: &State,
        node: &NodeName,
        since: Instant,
        kept: Option<&Silence>,
    ) -> Option<(Silence, Duration)> {
        let (world, node) = (self.world(state), node.clone());
        // A leader that has just begun did not hear the node fall silent.
        let heard = Timestamp(world.now.0.saturating_sub(millis(since.elapsed())));
        let since = kept.map_or(heard, |kept| kept.since.min(heard));
        let policies = self.inner.parts.policies.clone();
        let asked = tokio::task::spawn_blocking(move || {
            silence::ask(&world, &node, since, &*policies, &mut draw)
        });
        asked.await.ok()?
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The volumes that a node owns.
fn owned<'a>(state: &'a State, node: &NodeName) -> Vec<&'a flocker_model::VolumeName> {
    let mine = state.volumes.iter().filter(|(_, v)| v.value.owner.as_ref() == Some(node));
    mine.map(|(name, _)| name).collect()
}
