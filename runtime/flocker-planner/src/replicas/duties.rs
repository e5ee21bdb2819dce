//! Which replicas a node has to keep up to date: a function of the cluster's records, the same on every node.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use flocker_model::{AppName, NodeName, Volume};

/// Volumes of which one snapshot is taken, and who gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duty {
    /// The volumes; one at least.
    pub volumes: Vec<Arc<Volume>>,
    /// The nodes that receive it; one at least.
    pub receivers: BTreeSet<NodeName>,
    /// How often.
    pub every: Duration,
}

impl Duty {
    /// Whether it is about the same copies of the same volumes.
    pub(super) fn is_of_same_volumes(&self, other: &Self) -> bool {
        let copies = |duty: &Self| -> Vec<_> {
            duty.volumes.iter().map(|v| (v.id.clone(), v.epoch)).collect()
        };
        copies(self) == copies(other)
    }
}

/// What `node` has to send. Volumes of one app that are replicated alike go together. Nothing is sent of an app that an
/// operation works with: what a move sends is newer.
pub fn duties<'a>(
    node: &NodeName,
    volumes: impl IntoIterator<Item = &'a Volume>,
    is_held: impl Fn(&AppName) -> bool,
) -> Vec<Duty> {
    let mut groups: BTreeMap<_, Duty> = BTreeMap::new();
    for volume in volumes {
        let Some(wanted) = volume.replication.as_ref() else { continue };
        let receivers: BTreeSet<_> = volume.receivers().cloned().collect();
        let mine = volume.owner.as_ref() == Some(node);
        if !mine || receivers.is_empty() || volume.app.as_ref().is_some_and(&is_held) {
            continue;
        }
        // A volume of nobody goes alone.
        let alone = volume.app.is_none().then(|| volume.name.clone());
        let every = wanted.every;
        let key = (volume.app.clone(), alone, receivers.clone(), every);
        let fresh = || Duty { volumes: vec![], receivers, every };
        groups.entry(key).or_insert_with(fresh).volumes.push(Arc::new(volume.clone()));
    }
    groups.into_values().collect()
}
