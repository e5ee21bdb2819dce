//! The cluster's records, typed: reads all of them at one revision, and changes them by compare-and-swap.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use flocker_model::{
    App, AppName, AppRecord, Leftover, Node, NodeName, Operation, OperationId, Revision,
    RouteTable, Volume, VolumeName,
};
use flocker_planner::plan::silence::Silence;
use flocker_ports::{Check, Entry, RequestId, Store, StoreError, Transaction, Write};

use crate::records::{Record, RecordError};

/// Where decisions are kept, for `explain`.
pub(crate) const DECISIONS: &str = "decision/";

/// Why the cluster's records could not be read or changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClusterError {
    /// The store said so.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record is damaged.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl ClusterError {
    /// Whether somebody else was faster, and the whole change should be thought over again.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Store(StoreError::Conflict { .. }))
    }
}

/// A record and when it was last changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Versioned<T> {
    /// The record.
    pub value: T,
    /// When it was last changed.
    pub revision: Revision,
}

/// All records, as of one revision.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// The revision of the whole.
    pub revision: Revision,
    /// The nodes.
    pub nodes: BTreeMap<NodeName, Versioned<Node>>,
    /// The apps.
    pub apps: BTreeMap<AppName, Versioned<AppRecord>>,
    /// The apps' manifests, read; an app that cannot be read is missing here and named in `troubles`.
    pub manifests: BTreeMap<AppName, Arc<App>>,
    /// The volumes.
    pub volumes: BTreeMap<VolumeName, Versioned<Volume>>,
    /// The operations.
    pub operations: BTreeMap<OperationId, Operation>,
    /// What nodes may still have that no record names any more, by key.
    pub leftovers: BTreeMap<String, Leftover>,
    /// What was decided about nodes that stay silent.
    pub silences: BTreeMap<NodeName, Silence>,
    /// Records that could not be read.
    pub troubles: BTreeMap<String, String>,
}

impl State {
    /// Takes in one record. Keys that are not the cluster's are ignored.
    pub fn apply(&mut self, key: &str, value: Option<&Bytes>, revision: Revision) {
        self.revision = self.revision.max(revision);
        self.troubles.remove(key);
        let Some((kind, name)) = key.split_once('/') else { return };
        match kind {
            "node" => put(&mut self.nodes, &mut self.troubles, key, name, value, revision),
            "volume" => put(&mut self.volumes, &mut self.troubles, key, name, value, revision),
            "app" => {
                put(&mut self.apps, &mut self.troubles, key, name, value, revision);
                self.read_manifest(key, name);
            }
            "operation" => self.put_operation(key, name, value),
            "leftover" => self.put_leftover(key, value),
            "silence" => self.put_silence(key, name, value),
            _ => {}
        }
    }

    fn put_operation(&mut self, key: &str, name: &str, value: Option<&Bytes>) {
        let Ok(id) = OperationId::new(name) else { return };
        match value.map(|bytes| Operation::from_bytes(key, bytes)) {
            None => drop(self.operations.remove(&id)),
            Some(Ok(operation)) => drop(self.operations.insert(id, operation)),
            Some(Err(e)) => drop(self.troubles.insert(key.to_owned(), e.reason)),
        }
    }

    fn put_leftover(&mut self, key: &str, value: Option<&Bytes>) {
        match value.map(|bytes| Leftover::from_bytes(key, bytes)) {
            None => drop(self.leftovers.remove(key)),
            Some(Ok(leftover)) => drop(self.leftovers.insert(key.to_owned(), leftover)),
            Some(Err(e)) => drop(self.troubles.insert(key.to_owned(), e.reason)),
        }
    }

    fn put_silence(&mut self, key: &str, name: &str, value: Option<&Bytes>) {
        let Ok(node) = NodeName::new(name) else { return };
        match value.map(|bytes| Silence::from_bytes(key, bytes)) {
            None => drop(self.silences.remove(&node)),
            Some(Ok(silence)) => drop(self.silences.insert(node, silence)),
            Some(Err(e)) => drop(self.troubles.insert(key.to_owned(), e.reason)),
        }
    }

    fn read_manifest(&mut self, key: &str, name: &str) {
        let Ok(name) = AppName::new(name) else { return };
        self.manifests.remove(&name);
        let Some(record) = self.apps.get(&name) else { return };
        match read_manifest(&record.value) {
            Ok(app) => drop(self.manifests.insert(name, Arc::new(app))),
            Err(reason) => drop(self.troubles.insert(key.to_owned(), reason)),
        }
    }

    /// The routes that follow from these records.
    #[must_use]
    pub fn routes(&self) -> RouteTable {
        let nodes = self.nodes.values().map(|n| &n.value);
        let apps =
            self.apps.iter().filter_map(|(name, a)| Some((&a.value, &**self.manifests.get(name)?)));
        flocker_planner::routes::route_table(self.revision, nodes, apps, &self.operations)
    }

    /// The volumes of an app, in the order of its manifest, each with what the manifest calls it.
    #[must_use]
    pub fn volumes_of(&self, app: &App) -> Vec<(String, Versioned<Volume>)> {
        let find = |spec: &flocker_model::VolumeSpec| {
            self.volumes.get(spec.name()).map(|volume| (spec.key.clone(), volume.clone()))
        };
        app.volumes.iter().filter_map(find).collect()
    }
}

fn put<K, T>(
    map: &mut BTreeMap<K, Versioned<T>>,
    troubles: &mut BTreeMap<String, String>,
    key: &str,
    name: &str,
    value: Option<&Bytes>,
    revision: Revision,
) where
    K: Ord + std::str::FromStr,
    T: Record,
{
    let Ok(name) = name.parse::<K>() else {
        troubles.insert(key.to_owned(), "its name is not valid".to_owned());
        return;
    };
    match value.map(|bytes| T::from_bytes(key, bytes)) {
        None => drop(map.remove(&name)),
        Some(Ok(value)) => drop(map.insert(name, Versioned { value, revision })),
        Some(Err(e)) => drop(troubles.insert(key.to_owned(), e.reason)),
    }
}

/// Reads the manifest of a record. It was read before it was stored, so an error means a newer program wrote it.
///
/// # Errors
/// What is wrong with it, line by line.
pub fn read_manifest(record: &AppRecord) -> Result<App, String> {
    flocker_compose::parse(&record.manifest, Some(&record.name))
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

/// The cluster's records in a store.
#[derive(Debug, Clone)]
pub struct Cluster {
    store: Arc<dyn Store>,
}

impl Cluster {
    /// The records in `store`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// The store itself.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Everything, as of one revision.
    ///
    /// # Errors
    /// When the store does not answer. A single damaged record is no error; it is named in [`State::troubles`].
    pub async fn read(&self) -> Result<State, ClusterError> {
        let listing = self.store.list("").await?;
        let mut state = State::default();
        for Entry { key, value, revision } in &listing.entries {
            state.apply(key, Some(value), *revision);
        }
        state.revision = listing.revision;
        Ok(state)
    }

    /// One record.
    ///
    /// # Errors
    /// When the store does not answer, or the record is damaged.
    pub async fn get<T: Record>(&self, name: &str) -> Result<Option<Versioned<T>>, ClusterError> {
        let key = format!("{}{name}", T::PREFIX);
        let Some(entry) = self.store.get(&key).await? else { return Ok(None) };
        let value = T::from_bytes(&key, &entry.value)?;
        Ok(Some(Versioned { value, revision: entry.revision }))
    }

    /// What was kept under a decision's id.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn decision(&self, id: &OperationId) -> Result<Option<Bytes>, ClusterError> {
        Ok(self.store.get(&format!("{DECISIONS}{id}")).await?.map(|entry| entry.value))
    }

    /// Begins a change of several records.
    pub fn change(&self) -> Changes {
        Changes { checks: vec![], writes: vec![], error: None }
    }

    /// Makes the changes, all or none.
    ///
    /// # Errors
    /// A conflict when a record was changed since it was read; see [`ClusterError::is_conflict`].
    pub async fn commit(&self, changes: Changes) -> Result<Revision, ClusterError> {
        if let Some(error) = changes.error {
            return Err(error.into());
        }
        let request = RequestId(uuid::Uuid::now_v7().to_string());
        let transaction = Transaction { request, checks: changes.checks, writes: changes.writes };
        Ok(self.store.commit(transaction).await?)
    }
}

/// Changes that are made together or not at all.
#[derive(Debug)]
#[must_use]
pub struct Changes {
    checks: Vec<Check>,
    writes: Vec<Write>,
    error: Option<RecordError>,
}

impl Changes {
    /// A record that must not exist yet.
    pub fn create<T: Record>(mut self, value: &T) -> Self {
        self.checks.push(Check { key: value.key(), revision: None });
        self.put(value)
    }

    /// A record that must not have changed since it was read.
    pub fn replace<T: Record>(mut self, before: Revision, value: &T) -> Self {
        self.checks.push(Check { key: value.key(), revision: Some(before) });
        self.put(value)
    }

    /// A record that must not have changed, and goes.
    pub fn remove<T: Record>(mut self, before: &Versioned<T>) -> Self {
        let key = before.value.key();
        self.checks.push(Check { key: key.clone(), revision: Some(before.revision) });
        self.writes.push(Write { key, value: None });
        self
    }

    /// A record, whatever was there. Only for records that have one writer.
    pub fn put<T: Record>(mut self, value: &T) -> Self {
        match value.to_bytes() {
            Ok(bytes) => self.writes.push(Write { key: value.key(), value: Some(bytes) }),
            Err(e) => self.error = Some(e),
        }
        self
    }

    /// Removes a record by key, whatever was there.
    pub fn forget(mut self, key: String) -> Self {
        self.writes.push(Write { key, value: None });
        self
    }

    /// What was decided, and why.
    pub fn decision(mut self, id: &OperationId, document: Bytes) -> Self {
        self.writes.push(Write { key: format!("{DECISIONS}{id}"), value: Some(document) });
        self
    }
}
