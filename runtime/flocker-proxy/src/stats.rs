//! What the proxy counts, and how it shows it.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};

use flocker_model::{Revision, Route, ServiceKey};

use crate::routing::Served;

/// Everything the proxy counts, as of one moment. Totals are since it was started.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stats {
    /// The revision of the routes that it follows.
    pub revision: Revision,
    /// Every service that it has heard of.
    pub services: BTreeMap<ServiceKey, ServiceStats>,
    /// The mesh port.
    pub mesh: MeshStats,
}

/// One service on this node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServiceStats {
    /// Where it leads; `None` when it was removed.
    pub route: Option<Route>,
    /// What this node answers itself.
    pub served: Option<Served>,
    /// Connections that clients made here.
    pub connections: u64,
    /// Those that are being relayed now.
    pub active: usize,
    /// Those that are being held now.
    pub held: usize,
    /// Those that were refused with a reset.
    pub refused: u64,
    /// Those whose clients left while they were held.
    pub left: u64,
    /// Attempts to reach the app that failed and were, or will be, repeated.
    pub retries: u64,
    /// Of these, answers of another node that the app is not there under our epoch.
    pub moved: u64,
    /// Connections closed after an orderly end, because the service was parked.
    pub quiesced: u64,
    /// Connections reset because they led to someone who may no longer answer.
    pub cut: u64,
    /// Bytes from clients of this node.
    pub bytes_in: u64,
    /// Bytes to clients of this node.
    pub bytes_out: u64,
    /// Connections that are being relayed now for clients of other nodes.
    pub carried: usize,
    /// Bytes relayed for clients of other nodes, both ways.
    pub carried_bytes: u64,
}

/// The mesh port of this node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MeshStats {
    /// Connections that were taken over.
    pub accepted: u64,
    /// Connections that were sent away with an answer.
    pub sent_away: u64,
    /// Connections that were closed without one: not our protocol, too slow, or too many at a time.
    pub rejected: u64,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number of things that exist now; each is a [`Counted`].
#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicUsize);

impl Gauge {
    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn count(&self) -> Counted<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Counted(self)
    }

    /// Counts one more, unless there are `most` already.
    pub(crate) fn count_below(&self, most: usize) -> Option<Counted<'_>> {
        let one_more = |n| (n < most).then_some(n + 1);
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .ok()
            .map(|_| Counted(self))
    }
}

/// One of the things that a gauge counts.
#[derive(Debug)]
pub(crate) struct Counted<'a>(&'a Gauge);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Bytes of relayed connections.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    /// From clients.
    pub(crate) inward: Counter,
    /// To clients.
    pub(crate) outward: Counter,
}

/// What is counted per service.
#[derive(Debug, Default)]
pub(crate) struct ServiceCounters {
    pub(crate) connections: Counter,
    pub(crate) active: Gauge,
    pub(crate) held: Gauge,
    pub(crate) refused: Counter,
    pub(crate) left: Counter,
    pub(crate) retries: Counter,
    pub(crate) moved: Counter,
    pub(crate) quiesced: Counter,
    pub(crate) cut: Counter,
    pub(crate) clients: Meter,
    pub(crate) carried: Gauge,
    pub(crate) others: Meter,
}

/// What is counted at the mesh port.
#[derive(Debug, Default)]
pub(crate) struct MeshCounters {
    pub(crate) accepted: Counter,
    pub(crate) sent_away: Counter,
    pub(crate) rejected: Counter,
    pub(crate) half_open: Gauge,
}

impl ServiceCounters {
    pub(crate) fn show(&self, route: Option<Route>, served: Option<Served>) -> ServiceStats {
        ServiceStats {
            route,
            served,
            connections: self.connections.get(),
            active: self.active.get(),
            held: self.held.get(),
            refused: self.refused.get(),
            left: self.left.get(),
            retries: self.retries.get(),
            moved: self.moved.get(),
            quiesced: self.quiesced.get(),
            cut: self.cut.get(),
            bytes_in: self.clients.inward.get(),
            bytes_out: self.clients.outward.get(),
            carried: self.carried.get(),
            carried_bytes: self.others.inward.get() + self.others.outward.get(),
        }
    }
}

impl MeshCounters {
    pub(crate) fn show(&self) -> MeshStats {
        MeshStats {
            accepted: self.accepted.get(),
            sent_away: self.sent_away.get(),
            rejected: self.rejected.get(),
        }
    }
}
