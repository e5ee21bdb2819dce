//! One service on this node: what is served, who must look again when something changes, and the flows through it.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use flocker_model::{Epoch, ServiceKey};
use tokio::sync::{Notify, Semaphore, watch};
use tracing::warn;

use crate::{
    core::Core,
    routing::{Fate, Lead, Served, View},
    stats::ServiceCounters,
};

/// A service that fails is asked for again by all its clients; one line a second tells as much as thousands.
const WARNING_INTERVAL: Duration = Duration::from_secs(1);

/// One service on this node.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) key: ServiceKey,
    pub(crate) counters: ServiceCounters,
    /// Whoever holds a connection must have a turn to try to get it through. First come, first served.
    pub(crate) turns: Semaphore,
    state: Mutex<State>,
    changed: watch::Sender<()>,
    no_flows: Notify,
}

#[derive(Debug, Default)]
struct State {
    served: Option<Served>,
    /// Connections that were led somewhere, or are just being.
    flows: usize,
    warned: Option<Instant>,
    unwarned: u64,
}

impl Service {
    pub(crate) fn new(key: ServiceKey, release_batch: usize) -> Self {
        Self {
            key,
            counters: ServiceCounters::default(),
            turns: Semaphore::new(release_batch),
            state: Mutex::default(),
            changed: watch::Sender::new(()),
            no_flows: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everyone who waits for this service, or relays for it, looks again.
    pub(crate) fn look_again(&self) {
        self.changed.send_replace(());
    }

    /// Wakes at every change from now on.
    pub(crate) fn watch(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    pub(crate) fn served(&self) -> Option<Served> {
        self.state().served
    }

    /// This node answers at `address`; an epoch that is over changes nothing.
    pub(crate) fn serve(&self, epoch: Epoch, address: SocketAddr) {
        let mut state = self.state();
        if let Some(current) = state.served
            && current.epoch > epoch
        {
            warn!(service = %self.key, %epoch, current = %current.epoch, "told to serve under an epoch that is over; ignored");
            return;
        }
        state.served = Some(Served { epoch, address });
        drop(state);
        self.look_again();
    }

    pub(crate) fn withdraw(&self) {
        self.state().served = None;
        self.look_again();
    }

    /// Decides where a connection is led and counts it as a flow, in one step. So whoever publishes a table and then
    /// looks at the flows sees every one that an older table let through.
    pub(crate) fn enter<E>(
        self: &Arc<Self>,
        core: &Arc<Core>,
        decide: impl FnOnce(View<'_>) -> Result<Lead, E>,
    ) -> Result<Flow, E> {
        let mut state = self.state();
        let table = core.table();
        let lead = decide(View {
            node: &core.node,
            table: &table,
            service: &self.key,
            served: state.served,
        })?;
        state.flows += 1;
        drop(state);
        Ok(Flow { core: Arc::clone(core), service: Arc::clone(self), lead })
    }

    pub(crate) fn has_flows(&self) -> bool {
        self.state().flows > 0
    }

    /// Returns at a moment when no connection was led anywhere.
    pub(crate) async fn without_flows(&self) {
        loop {
            let notified = self.no_flows.notified();
            if !self.has_flows() {
                return;
            }
            notified.await;
        }
    }

    /// Says in the log that connections are refused, at most once a second.
    pub(crate) fn warn_of_refusal(&self, client: SocketAddr, why: &str) {
        let mut state = self.state();
        if state.warned.is_some_and(|at| at.elapsed() < WARNING_INTERVAL) {
            state.unwarned += 1;
            return;
        }
        state.warned = Some(Instant::now());
        let others = std::mem::take(&mut state.unwarned);
        drop(state);
        warn!(service = %self.key, %client, others_since_last = others, "refused a connection: {why}");
    }
}

/// A connection that was led somewhere. Dropped when nothing of it can reach the app any more.
#[derive(Debug)]
pub(crate) struct Flow {
    pub(crate) lead: Lead,
    core: Arc<Core>,
    service: Arc<Service>,
}

impl Flow {
    pub(crate) fn fate(&self) -> Fate {
        let table = self.core.table();
        let served = self.service.served();
        let view =
            View { node: &self.core.node, table: &table, service: &self.service.key, served };
        let fate = view.fate(&self.lead);
        // This process ends; clients shall see it as an orderly end.
        if fate == Fate::Keep && self.core.stop.is_cancelled() { Fate::Quiesce } else { fate }
    }

    /// Returns when the connection may not go on as it does, and what is to happen instead.
    pub(crate) async fn disturbed(&self) -> Fate {
        self.until(|fate| fate != Fate::Keep).await
    }

    /// Returns when the connection must end at once.
    pub(crate) async fn cut(&self) {
        self.until(|fate| fate == Fate::Cut).await;
    }

    async fn until(&self, wanted: impl Fn(Fate) -> bool) -> Fate {
        let mut changed = self.service.watch();
        loop {
            let fate = self.fate();
            if wanted(fate) {
                return fate;
            }
            if changed.changed().await.is_err() {
                // The sender lives in the service, which this flow keeps alive.
                return Fate::Cut;
            }
        }
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        let mut state = self.service.state();
        state.flows -= 1;
        if state.flows == 0 {
            self.service.no_flows.notify_waiters();
        }
    }
}
