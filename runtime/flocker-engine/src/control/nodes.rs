//! What operators can ask for about nodes.

use std::collections::BTreeMap;

use flocker_model::{App, Node, NodeName, OperationKind, Volume};

use super::{Control, Refusal, no_node};
use crate::{
    cluster::{State, Versioned},
    records::RemovedNode,
};

impl Control {
    /// Refuses a node that an app cannot be moved to, whatever an operator wishes.
    pub(super) fn check_target(
        &self,
        state: &State,
        target: &NodeName,
        source: &NodeName,
        manifest: &App,
    ) -> Result<(), Refusal> {
        let app = &manifest.name;
        if target == source {
            return Err(Refusal::new(
                "already-there",
                format!("app `{app}` is on node `{target}` already"),
            ));
        }
        self.check_open(state, target)?;
        self.check_streams(target, source, manifest)
    }

    /// Refuses a node whose storage cannot take the app's volumes. No policy is overruled by that, but the possible.
    fn check_streams(
        &self,
        target: &NodeName,
        source: &NodeName,
        manifest: &App,
    ) -> Result<(), Refusal> {
        let streams = |node| self.seen(node).map(|seen| seen.observation.stats.streams);
        let streams = |node| streams(node).filter(|streams| !streams.is_empty());
        let (Some(ours), Some(theirs)) = (streams(source), streams(target)) else { return Ok(()) };
        if manifest.volumes.is_empty() || ours == theirs {
            return Ok(());
        }
        let app = &manifest.name;
        Err(Refusal::new(
            "no-candidate",
            format!("app `{app}` has volumes on node `{source}`, whose storage sends `{ours}` streams; node `{target}` takes `{theirs}`"),
        )
        .hint("move it to a node with storage of the same kind; a move without `--to` looks for one"))
    }

    /// Marks a node as to be emptied, or takes the mark back. The planner moves its apps away.
    ///
    /// # Errors
    /// When there is no such node.
    pub async fn set_draining(&self, name: &NodeName, draining: bool) -> Result<(), Refusal> {
        self.change_node(name, |node| node.draining = draining).await
    }

    /// Sets labels of a node, and removes those without a value. From then on they are the operator's, until the node's
    /// configuration names them again.
    ///
    /// # Errors
    /// When there is no such node.
    pub async fn label(
        &self,
        name: &NodeName,
        labels: &BTreeMap<String, Option<String>>,
    ) -> Result<(), Refusal> {
        self.change_node(name, |node| {
            for (key, value) in labels {
                node.configured.remove(key);
                match value {
                    Some(value) => drop(node.labels.insert(key.clone(), value.clone())),
                    None => drop(node.labels.remove(key)),
                }
            }
        })
        .await
    }

    async fn change_node(
        &self,
        name: &NodeName,
        change: impl Fn(&mut Node),
    ) -> Result<(), Refusal> {
        self.attempt(|state: &State| {
            let Versioned { value, revision } =
                state.nodes.get(name).ok_or_else(|| no_node(name, state))?;
            let mut node = value.clone();
            change(&mut node);
            Ok(Some(self.leader.inner.parts.cluster.change().replace(*revision, &node)))
        })
        .await?;
        self.leader.wake();
        Ok(())
    }

    /// Removes a node from the cluster for good: one that is dead or drained, and holds nothing that is needed. Its
    /// copies of volumes are forgotten, and its installation is not let in again. `leading` is the node that leads.
    ///
    /// # Errors
    /// No such node; one that apps, volumes or operations need, that takes apps, or that leads.
    pub async fn remove_node(&self, name: &NodeName, leading: &NodeName) -> Result<(), Refusal> {
        self.attempt(|state: &State| {
            let known = state.nodes.get(name).ok_or_else(|| no_node(name, state))?;
            if name == leading {
                return Err(in_use(format!("node `{name}` holds the cluster's store and leads"))
                    .hint("without it there is no cluster; end its daemon to end the cluster"));
            }
            let alive = self.leader.inner.nodes.alive(name);
            let needed = needs(state, name);
            if !needed.is_empty() {
                let refusal =
                    in_use(format!("node `{name}` is still needed: {}", needed.join(", ")));
                return Err(refusal.hint(match alive {
                    true => format!(
                        "`flocker node drain {name}` moves its apps away; `flocker volume rm` removes volumes that nobody needs"
                    ),
                    false => "start its daemon again, or give up what is on it with `flocker app rm APP --volumes` and `flocker volume rm VOLUME`".to_owned(),
                }));
            }
            if alive && !known.value.draining {
                return Err(in_use(format!("node `{name}` is alive and takes apps"))
                    .hint(format!("`flocker node drain {name}` empties it")));
            }
            let removed = RemovedNode {
                identity: known.value.identity.clone(),
                name: name.clone(),
                at: self.leader.inner.parts.clock.now(),
            };
            let mut changes = self.leader.inner.parts.cluster.change().remove(known).put(&removed);
            for Versioned { value, revision } in state.volumes.values() {
                let mut volume: Volume = value.clone();
                volume.forget_node(name);
                if volume != *value {
                    changes = changes.replace(*revision, &volume);
                }
            }
            Ok(Some(changes))
        })
        .await?;
        self.leader.wake();
        Ok(())
    }
}

fn in_use(message: String) -> Refusal {
    Refusal::new("node-in-use", message)
}

/// What needs the node, for people.
fn needs(state: &State, name: &NodeName) -> Vec<String> {
    let here = |owner: &Option<NodeName>| owner.as_ref() == Some(name);
    let apps = state.apps.values().filter(|a| here(&a.value.owner));
    let apps = apps.map(|a| format!("app `{}`", a.value.name));
    let volumes = state.volumes.values().filter(|v| here(&v.value.owner));
    let volumes = volumes.map(|v| format!("volume `{}`", v.value.name));
    let busy = state.operations.values().filter(|o| !o.state.is_final() && uses(&o.kind, name));
    let busy = busy.map(|o| format!("operation `{}`", o.id));
    apps.chain(volumes).chain(busy).collect()
}

/// Whether an operation of this kind works with the node.
fn uses(kind: &OperationKind, name: &NodeName) -> bool {
    match kind {
        OperationKind::Deploy { target, .. } => target == name,
        OperationKind::Update { node, .. } => node == name,
        OperationKind::Move { source, target, .. } => source == name || target == name,
        OperationKind::Remove { node, .. } => node.as_ref() == Some(name),
    }
}
