//! Names and labels: how a container of ours is found again, and told from everyone else's.

use std::collections::HashMap;

use flocker_model::{AppName, ContainerName, Epoch, NodeName};
use flocker_ports::ContainerPlan;

/// On every container and network of ours, with the node's name: several nodes may share one Docker.
pub(crate) const NODE: &str = "io.flocker.node";
const APP: &str = "io.flocker.app";
const CONTAINER: &str = "io.flocker.container";
const EPOCH: &str = "io.flocker.epoch";
const DIGEST: &str = "io.flocker.digest";

/// What the labels of a container of this node say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) app: AppName,
    pub(crate) name: ContainerName,
    pub(crate) epoch: Epoch,
    pub(crate) digest: String,
}

impl Identity {
    /// The identity of a container that is made from `plan`.
    pub(crate) fn of(plan: &ContainerPlan, digest: String) -> Self {
        Self { app: plan.app.clone(), name: plan.spec.name.clone(), epoch: plan.epoch, digest }
    }

    /// The labels of it.
    pub(crate) fn labels(&self, node: &NodeName) -> HashMap<String, String> {
        [
            (NODE, node.to_string()),
            (APP, self.app.to_string()),
            (CONTAINER, self.name.to_string()),
            (EPOCH, self.epoch.to_string()),
            (DIGEST, self.digest.clone()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }

    /// Reads them; `None` when they are not this node's, or someone else made them up.
    pub(crate) fn read(labels: &HashMap<String, String>, node: &NodeName) -> Option<Self> {
        if labels.get(NODE)? != node.as_str() {
            return None;
        }
        Some(Self {
            app: labels.get(APP)?.parse().ok()?,
            name: labels.get(CONTAINER)?.parse().ok()?,
            epoch: Epoch(labels.get(EPOCH)?.parse().ok()?),
            digest: labels.get(DIGEST)?.clone(),
        })
    }
}

/// What Docker calls the node's network.
pub(crate) fn network(node: &NodeName) -> String {
    format!("flocker-{node}")
}

/// What Docker calls a container, and its siblings link to. Parted by dots, which neither a node's nor an app's name
/// may hold: app `shop` with container `web-db` and app `shop-web` with container `db` are two.
pub(crate) fn container(node: &NodeName, app: &AppName, name: &ContainerName) -> String {
    format!("flocker-{node}.{app}.{name}")
}

/// The filter for what is ours.
pub(crate) fn filter(node: &NodeName) -> HashMap<String, Vec<String>> {
    HashMap::from([("label".to_owned(), vec![format!("{NODE}={node}")])])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_another_node_or_of_nobody_are_not_ours() {
        let node: NodeName = "n1".parse().unwrap();
        let identity = Identity {
            app: "shop".parse().unwrap(),
            name: "redis".parse().unwrap(),
            epoch: Epoch(7),
            digest: "d".to_owned(),
        };
        let mut labels = identity.labels(&node);

        assert_eq!(Identity::read(&labels, &node), Some(identity));
        assert_eq!(Identity::read(&labels, &"n2".parse().unwrap()), None);
        labels.remove(EPOCH);
        assert_eq!(Identity::read(&labels, &node), None);
    }
}
