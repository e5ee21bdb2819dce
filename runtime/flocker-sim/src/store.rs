//! A store in memory. It is durable by definition: whoever held it may crash, and another handle finds everything.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use flocker_model::Revision;
use flocker_ports::{
    Entry, Listing, RequestId, Store, StoreChange, StoreError, Transaction, WatchStream,
};
use futures::stream;
use tokio::sync::watch;

use crate::faults::{Faults, NoFaults, Outcome, strike};

/// Transactions whose changes a watch can still be given, as in the embedded store.
const HISTORY: u64 = 10_000;
/// Transactions whose request ids are remembered, for each whose changes are.
const REQUESTS: u64 = 10;

/// A handle of a store. Clones share the content.
#[derive(Debug, Clone)]
pub struct SimStore {
    content: Arc<Mutex<Content>>,
    newest: watch::Receiver<Revision>,
    faults: Arc<dyn Faults>,
}

#[derive(Debug)]
struct Content {
    records: BTreeMap<String, (Revision, Bytes)>,
    log: VecDeque<StoreChange>,
    requests: BTreeMap<RequestId, Revision>,
    requests_by_age: BTreeMap<Revision, RequestId>,
    compacted: Revision,
    history: u64,
    published: watch::Sender<Revision>,
}

impl Default for SimStore {
    fn default() -> Self {
        Self::with_history(HISTORY)
    }
}

impl SimStore {
    /// An empty store that forgets changes older than so many transactions.
    #[must_use]
    pub fn with_history(history: u64) -> Self {
        let (published, newest) = watch::channel(Revision(0));
        let content = Content {
            records: BTreeMap::new(),
            log: VecDeque::new(),
            requests: BTreeMap::new(),
            requests_by_age: BTreeMap::new(),
            compacted: Revision(0),
            history,
            published,
        };
        Self { content: Arc::new(Mutex::new(content)), newest, faults: Arc::new(NoFaults) }
    }

    /// The same store, seen over a connection that fails as `faults` says.
    #[must_use]
    pub fn with_faults(&self, faults: Arc<dyn Faults>) -> Self {
        Self { faults, ..self.clone() }
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call<T>(
        &self,
        point: &str,
        effect: impl FnOnce(&mut Content) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        strike(&*self.faults, point, unreachable, || effect(&mut self.content()))
    }
}

fn unreachable() -> StoreError {
    StoreError::Unreachable { address: "sim".into(), reason: "a fault was injected".into() }
}

impl Content {
    fn newest(&self) -> Revision {
        *self.published.borrow()
    }

    fn entry(&self, key: &str) -> Option<Entry> {
        let (revision, value) = self.records.get(key)?;
        Some(Entry { key: key.to_owned(), value: value.clone(), revision: *revision })
    }

    fn commit(&mut self, transaction: Transaction) -> Result<Revision, StoreError> {
        transaction.validate()?;
        if let Some(before) = self.requests.get(&transaction.request) {
            return Ok(*before);
        }
        for check in transaction.checks {
            if self.records.get(&check.key).map(|record| record.0) != check.revision {
                return Err(StoreError::Conflict { key: check.key });
            }
        }
        let revision = Revision(self.newest().0 + 1);
        for write in transaction.writes {
            let changed = match &write.value {
                Some(value) => {
                    self.records.insert(write.key.clone(), (revision, value.clone()));
                    true
                }
                None => self.records.remove(&write.key).is_some(),
            };
            if changed {
                let (key, value) = (write.key, write.value);
                self.log.push_back(StoreChange { revision, key, value, more: false });
            }
        }
        self.requests.insert(transaction.request.clone(), revision);
        self.requests_by_age.insert(revision, transaction.request);
        self.forget(revision);
        self.published.send_replace(revision);
        Ok(revision)
    }

    fn forget(&mut self, newest: Revision) {
        self.compacted = Revision(newest.0.saturating_sub(self.history));
        while self.log.front().is_some_and(|change| change.revision <= self.compacted) {
            self.log.pop_front();
        }
        let forgotten = Revision(newest.0.saturating_sub(self.history * REQUESTS));
        while let Some(oldest) =
            self.requests_by_age.first_entry().filter(|entry| *entry.key() <= forgotten)
        {
            self.requests.remove(&oldest.remove());
        }
    }

    /// The first change after a place in the log: a revision, and how many of its changes were seen.
    fn change(
        &self,
        prefix: &str,
        (revision, n_seen): (Revision, usize),
    ) -> Result<Option<StoreChange>, StoreError> {
        if revision <= self.compacted {
            return Err(self.gone(Revision(revision.0 - 1)));
        }
        let start = self.log.partition_point(|change| change.revision < revision);
        let found = self.log.range(start..).filter(|change| change.key.starts_with(prefix));
        let mut unseen = found
            .enumerate()
            .skip_while(|(i, change)| change.revision == revision && *i < n_seen)
            .map(|(_, change)| change);
        let Some(change) = unseen.next() else { return Ok(None) };
        let more = unseen.next().is_some_and(|next| next.revision == change.revision);
        Ok(Some(StoreChange { more, ..change.clone() }))
    }

    fn gone(&self, after: Revision) -> StoreError {
        StoreError::Compacted { after, oldest: Revision(self.compacted.0 + 1) }
    }
}

#[async_trait]
impl Store for SimStore {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        self.call("store.get", |content| Ok(content.entry(key)))
    }

    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        self.call("store.list", |content| {
            let keys = content.records.range(prefix.to_owned()..).map(|(key, _)| key);
            let entries = keys
                .take_while(|key| key.starts_with(prefix))
                .filter_map(|key| content.entry(key))
                .collect();
            Ok(Listing { entries, revision: content.newest() })
        })
    }

    async fn commit(&self, transaction: Transaction) -> Result<Revision, StoreError> {
        self.call("store.commit", |content| content.commit(transaction))
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<WatchStream, StoreError> {
        self.call("store.watch", |content| {
            if after < content.compacted || after > content.newest() {
                return Err(content.gone(after));
            }
            Ok(())
        })?;
        let next = (Revision(after.0 + 1), 0);
        let watch = Watch { store: self.clone(), prefix: prefix.to_owned(), next };
        Ok(Box::pin(stream::unfold(Some(watch), |watch| async {
            let mut watch = watch?;
            match watch.next().await {
                Ok(change) => Some((Ok(change), Some(watch))),
                Err(error) => Some((Err(error), None)),
            }
        })))
    }
}

/// A place in the log.
struct Watch {
    store: SimStore,
    prefix: String,
    next: (Revision, usize),
}

impl Watch {
    async fn next(&mut self) -> Result<StoreChange, StoreError> {
        loop {
            let newest = {
                let store = self.store.clone();
                let content = store.content();
                if let Some(change) = self.seek(&content)? {
                    return Ok(change);
                }
                content.newest()
            };
            // Everything up to here was looked at, so forgetting it loses nothing.
            self.next = (Revision(newest.0 + 1), 0);
            // The content, and so the sender, lives as long as this handle.
            let _ = self.store.newest.wait_for(|revision| *revision > newest).await;
        }
    }

    fn seek(&mut self, content: &Content) -> Result<Option<StoreChange>, StoreError> {
        let Some(change) = content.change(&self.prefix, self.next)? else { return Ok(None) };
        // A connection that breaks here is the consumer's to deal with: it watches again.
        match self.store.faults.at("store.watch.change") {
            Outcome::Proceed => {}
            Outcome::FailBefore | Outcome::FailAfter => return Err(unreachable()),
        }
        let n_seen = if change.revision == self.next.0 { self.next.1 + 1 } else { 1 };
        self.next = (change.revision, n_seen);
        Ok(Some(change))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use flocker_ports::{Transaction, Write, contract::store::StoreHarness, store_contract};

    use super::*;
    use crate::faults::FaultScript;

    /// Small, so that tests outgrow it quickly.
    const HISTORY: u64 = 64;

    #[derive(Debug)]
    struct Harness(SimStore);

    impl Harness {
        async fn fresh() -> Self {
            Self(SimStore::with_history(HISTORY))
        }
    }

    #[async_trait]
    impl StoreHarness for Harness {
        fn store(&self) -> Arc<dyn Store> {
            Arc::new(self.0.clone())
        }

        async fn restart(&mut self) {
            // The holder crashed; another handle is all that a restart gets.
            self.0 = self.0.with_faults(Arc::new(NoFaults));
        }

        fn history(&self) -> u64 {
            HISTORY
        }
    }

    store_contract!(tokio::test(start_paused = true), Harness::fresh);

    fn put(request: &str) -> Transaction {
        let writes = vec![Write { key: "x".into(), value: Some(Bytes::from(request.to_owned())) }];
        Transaction { request: RequestId(request.to_owned()), checks: vec![], writes }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_answer_leaves_the_effect_and_a_lost_request_does_not() {
        let faults = Arc::new(FaultScript::default());
        let store = SimStore::default().with_faults(faults.clone());
        faults.plan("store.commit", Outcome::FailBefore);
        faults.plan("store.commit", Outcome::FailAfter);

        assert!(store.commit(put("a")).await.is_err());
        assert_eq!(store.get("x").await.unwrap(), None);
        assert!(store.commit(put("a")).await.is_err());
        assert_eq!(store.commit(put("a")).await.unwrap(), Revision(1));
        assert_eq!(faults.left(), []);
    }
}
