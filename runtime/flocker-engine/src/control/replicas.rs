//! What operators can ask for about replicas.

use std::{collections::BTreeSet, time::Duration};

use flocker_model::{
    AppName, Left, Leftover, NodeName, Point, Rates, Replication, Timestamp, Volume, VolumeName,
};
use flocker_ports::ReplicaSeen;

use super::{Control, Refusal};
use crate::cluster::{State, Versioned};

/// How often a snapshot is sent where nobody said.
const EVERY: Duration = Duration::from_secs(10);

/// The shortest time between snapshots that makes sense: each costs the pool a transaction.
const EVERY_MIN: Duration = Duration::from_secs(1);

/// More copies of a volume are a mistake.
const COPIES_MAX: u32 = 8;

/// What an operator wants of the replicas of a volume, or of all volumes of an app.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wish {
    /// Nodes that are to have one.
    pub nodes: BTreeSet<NodeName>,
    /// How many more there are to be, where policies choose; `None`: as many as before.
    pub copies: Option<u32>,
    /// How often; `None`: as before.
    pub every: Option<Duration>,
    /// Bytes in a second to one node; `None`: as before.
    pub rates: Option<Rates>,
}

/// A replica that is, or is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaView {
    /// The volume.
    pub volume: Volume,
    /// The node that has it, or is to have it.
    pub node: NodeName,
    /// Why it is there.
    pub reason: Reason,
    /// The snapshot that it holds, as far as it is known.
    pub at: Option<Point>,
    /// Up to when it held everything when that was last written down.
    pub taken: Option<Timestamp>,
    /// What the owner says of it; `None`: nothing, or it does not answer.
    pub seen: Option<ReplicaSeen>,
}

/// Why there is a replica on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// An operator named the node.
    Named,
    /// Policies chose it.
    Chosen,
    /// The volume was there once, and nobody keeps that copy up to date.
    Left,
}

impl Control {
    /// Lets replicas be kept of a volume, or of all volumes of an app.
    ///
    /// # Errors
    /// No such volume, app or node; a node that owns it; storage that does not take the owner's streams.
    pub async fn add_replicas(&self, name: &str, wish: &Wish) -> Result<Vec<Volume>, Refusal> {
        let mut changed = vec![];
        self.attempt(|state| {
            changed = subjects(state, name)?;
            let mut changes = self.leader.inner.parts.cluster.change();
            for known in &mut changed {
                let before = known.revision;
                known.value.replication = Some(self.wished(state, &known.value, wish)?);
                changes = changes.replace(before, &known.value);
                for node in known.value.receivers() {
                    changes =
                        changes.forget(crate::records::Record::key(&left(&known.value, node)));
                }
            }
            Ok(Some(changes))
        })
        .await?;
        self.leader.wake();
        Ok(changed.into_iter().map(|known| known.value).collect())
    }

    /// Lets one replica go, or all that somebody asked for: nobody keeps it up to date any more, and the copy is removed.
    /// The nodes whose copy goes.
    ///
    /// # Errors
    /// No such volume or app, or a node that is to have no replica.
    pub async fn remove_replicas(
        &self,
        name: &str,
        node: Option<&NodeName>,
    ) -> Result<BTreeSet<NodeName>, Refusal> {
        let mut gone = BTreeSet::new();
        self.attempt(|state| {
            gone.clear();
            let mut changes = self.leader.inner.parts.cluster.change();
            for known in subjects(state, name)? {
                let mut volume = known.value.clone();
                let mine: Vec<_> = copies(&volume).into_iter().map(|(node, _)| node).collect();
                let which: Vec<_> =
                    mine.into_iter().filter(|n| node.is_none_or(|node| n == node)).collect();
                for node in &which {
                    give_up(&mut volume, node);
                    changes = changes.put(&left(&volume, node));
                }
                if node.is_none() {
                    volume.replication = None;
                }
                gone.extend(which);
                changes = changes.replace(known.revision, &volume);
            }
            match node.filter(|_| gone.is_empty()) {
                None => Ok(Some(changes)),
                Some(node) => Err(Refusal::new(
                    "replica-not-found",
                    format!("`{name}` has no replica on node `{node}`"),
                )
                .hint("`flocker replica ls` lists the replicas")),
            }
        })
        .await?;
        self.leader.wake();
        Ok(gone)
    }

    /// All replicas that are, or are to be; of one volume or app where named.
    ///
    /// # Errors
    /// No such volume or app.
    pub async fn replicas(&self, name: Option<&str>) -> Result<Vec<ReplicaView>, Refusal> {
        let state = self.state().await?;
        let volumes = match name {
            Some(name) => subjects(&state, name)?,
            None => state.volumes.values().cloned().collect(),
        };
        let views = volumes.into_iter().flat_map(|Versioned { value: volume, .. }| {
            let copies = copies(&volume);
            copies.into_iter().map(move |(node, reason)| self.view(&volume, node, reason))
        });
        Ok(views.collect())
    }

    fn view(&self, volume: &Volume, node: NodeName, reason: Reason) -> ReplicaView {
        let noted = volume.replicas.iter().find(|replica| replica.node == node);
        let owner = volume.owner.as_ref().and_then(|owner| self.seen(owner));
        let seen = owner.filter(crate::leader::Seen::alive).and_then(|seen| {
            let mut all = seen.observation.replicas.into_iter();
            all.find(|replica| replica.volume == volume.id && replica.node == node)
        });
        let at = seen.as_ref().and_then(|seen| seen.at.clone());
        ReplicaView {
            at: at.or_else(|| noted.map(flocker_model::Replica::point)),
            taken: noted.and_then(|noted| noted.taken),
            volume: volume.clone(),
            node,
            reason,
            seen,
        }
    }

    fn wished(&self, state: &State, volume: &Volume, wish: &Wish) -> Result<Replication, Refusal> {
        let fresh = || Replication {
            named: BTreeSet::new(),
            copies: 0,
            chosen: BTreeSet::new(),
            every: EVERY,
            rates: Rates::default(),
        };
        let mut wanted = volume.replication.clone().unwrap_or_else(fresh);
        for node in &wish.nodes {
            self.check_receiver(state, volume, node)?;
            wanted.named.insert(node.clone());
            wanted.chosen.remove(node);
        }
        wanted.copies = wish.copies.unwrap_or(wanted.copies);
        wanted.every = wish.every.unwrap_or(wanted.every);
        if let Some(rates) = &wish.rates {
            wanted.rates.clone_from(rates);
        }
        let invalid = |text: String| Err(Refusal::new("invalid-argument", text));
        if wanted.every < EVERY_MIN {
            return invalid(format!("a snapshot is sent every {EVERY_MIN:?} at the most"));
        }
        if wanted.copies > COPIES_MAX {
            return invalid(format!(
                "{} replicas of a volume are too many; {COPIES_MAX} may be chosen",
                wanted.copies
            ));
        }
        if wanted.copies == 0 && wanted.named.is_empty() {
            return invalid(
                "say where the replica is to be, or how many there are to be".to_owned(),
            );
        }
        Ok(wanted)
    }

    fn check_receiver(
        &self,
        state: &State,
        volume: &Volume,
        node: &NodeName,
    ) -> Result<(), Refusal> {
        if !state.nodes.contains_key(node) {
            return Err(super::no_node(node, state));
        }
        let Some(owner) = &volume.owner else { return Ok(()) };
        let name = &volume.name;
        if owner == node {
            let text = format!("node `{node}` owns volume `{name}`; a replica is on another node");
            return Err(Refusal::new("invalid-argument", text));
        }
        let streams = |node| self.seen(node).map(|seen| seen.observation.stats.streams);
        let streams = |node| streams(node).filter(|streams| !streams.is_empty());
        match (streams(owner), streams(node)) {
            (Some(ours), Some(theirs)) if ours != theirs => Err(Refusal::new(
                "no-candidate",
                format!("the storage of node `{owner}`, which owns volume `{name}`, sends `{ours}` streams; node `{node}` takes `{theirs}`"),
            )
            .hint("replicas are kept on storage of the same kind; data goes to another kind only as a copy of its files")),
            _ => Ok(()),
        }
    }
}

/// The volumes of an app, or the volume of that name.
fn subjects(state: &State, name: &str) -> Result<Vec<Versioned<Volume>>, Refusal> {
    let app = AppName::new(name).ok().filter(|app| state.apps.contains_key(app));
    if let Some(app) = app {
        let mine = state.volumes.values().filter(|v| v.value.app.as_ref() == Some(&app));
        let mine: Vec<_> = mine.cloned().collect();
        if mine.is_empty() {
            let text = format!("app `{app}` has no volumes, so there is nothing to replicate");
            return Err(Refusal::new("invalid-argument", text));
        }
        return Ok(mine);
    }
    let volume = VolumeName::new(name).ok().and_then(|name| state.volumes.get(&name));
    volume.map(|volume| vec![volume.clone()]).ok_or_else(|| {
        Refusal::new("volume-not-found", format!("there is no app and no volume `{name}`"))
            .hint("`flocker volume ls` lists the volumes, `flocker app ls` the apps")
    })
}

/// The nodes that have a replica or are to have one, and why.
fn copies(volume: &Volume) -> Vec<(NodeName, Reason)> {
    let named = |node: &NodeName| {
        volume.replication.as_ref().is_some_and(|wanted| wanted.named.contains(node))
    };
    let reason = |node: &NodeName| if named(node) { Reason::Named } else { Reason::Chosen };
    let wanted = volume.receivers().map(|node| (node.clone(), reason(node)));
    let mut all: Vec<_> = wanted.collect();
    for replica in &volume.replicas {
        let owner = volume.owner.as_ref() == Some(&replica.node);
        if !owner && !all.iter().any(|(node, _)| *node == replica.node) {
            all.push((replica.node.clone(), Reason::Left));
        }
    }
    all
}

fn give_up(volume: &mut Volume, node: &NodeName) {
    if let Some(wanted) = &mut volume.replication
        && wanted.chosen.contains(node)
    {
        // Otherwise another one would be chosen.
        wanted.copies = wanted.copies.saturating_sub(1);
    }
    volume.forget_node(node);
}

fn left(volume: &Volume, node: &NodeName) -> Leftover {
    let Volume { id, name, epoch, .. } = volume.clone();
    Leftover { node: node.clone(), what: Left::Replica { id, name, epoch } }
}
