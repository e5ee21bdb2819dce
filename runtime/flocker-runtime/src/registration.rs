//! Writes down who this node is. What operators set stays; a machine that took another one's name is refused, and so is
//! one that was removed.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use anyhow::bail;
use flocker_engine::{
    cluster::{Changes, Cluster, ClusterError, Versioned},
    follower::Followed,
    records::RemovedNode,
};
use flocker_model::{Node, StreamKey, Volume, VolumeName};
use flocker_ports::StoreError;
use tokio_util::sync::CancellationToken;

use crate::{
    config::{Config, PORT_API, PORT_MESH, PORT_REPLICATION},
    daemon::AskedToEnd,
};

/// Between two attempts to reach the store.
const STORE_PAUSE: Duration = Duration::from_millis(500);

/// This node and the cluster that it belongs to.
#[derive(Debug)]
pub(crate) struct Registration {
    cluster: Cluster,
    /// As the configuration says it.
    node: Node,
}

impl Registration {
    pub(crate) fn new(
        config: &Config,
        cluster: Cluster,
        identity: &str,
        stream_key: Option<StreamKey>,
    ) -> Self {
        let at = |port| SocketAddr::new(config.address, port);
        let node = Node {
            name: config.node.clone(),
            api: at(PORT_API),
            mesh: at(PORT_MESH),
            replication: at(PORT_REPLICATION),
            labels: config.labels.clone(),
            configured: config.labels.keys().cloned().collect(),
            draining: false,
            identity: identity.to_owned(),
            stream_key,
        };
        Self { cluster, node }
    }

    /// Finds out whether the cluster would have this node, and writes nothing. Waits for the store.
    pub(crate) async fn check(&self, stop: &CancellationToken) -> anyhow::Result<()> {
        self.patiently(stop, async || self.wanted().await.map(drop)).await
    }

    /// The volumes of which the cluster says that this node has a copy. Waits for the store.
    pub(crate) async fn volumes(
        &self,
        stop: &CancellationToken,
    ) -> anyhow::Result<Vec<VolumeName>> {
        let name = &self.node.name;
        let state = self.patiently(stop, async || Ok(self.cluster.read().await?)).await?;
        let volumes = state.volumes.into_values().map(|known| known.value);
        let here = |volume: &Volume| {
            let replica = volume.replicas.iter().any(|replica| replica.node == *name);
            replica || volume.owner.as_ref() == Some(name)
        };
        Ok(volumes.filter(here).map(|volume| volume.name).collect())
    }

    /// Writes the node down; its record.
    pub(crate) async fn write(&self, stop: &CancellationToken) -> anyhow::Result<Node> {
        let attempt = async || {
            let (node, changes) = self.wanted().await?;
            if let Some(changes) = changes {
                self.cluster.commit(changes).await?;
            }
            Ok(node)
        };
        self.patiently(stop, attempt).await
    }

    /// Returns when an operator removed this node from the cluster.
    pub(crate) async fn removed(&self, mut followed: Followed) {
        loop {
            let state = followed.borrow_and_update().clone();
            let here = state.is_none_or(|s| s.nodes.contains_key(&self.node.name));
            // A record may also be missing because it cannot be read. Only the operator's word counts.
            if !here {
                match self.told_to_go().await {
                    Ok(Some(_)) => return,
                    Ok(None) => {}
                    // There may be no further change that would let us ask again.
                    Err(_) => {
                        tokio::time::sleep(STORE_PAUSE).await;
                        continue;
                    }
                }
            }
            if followed.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// What an operator of this machine is told once the node was removed.
    pub(crate) fn farewell(&self) -> anyhow::Error {
        let name = &self.node.name;
        anyhow::anyhow!(
            "node `{name}` was removed from the cluster\nhint: to let this machine join again as a new node, give it a new `--state-dir`; to clean it up, `docker network rm flocker-{name}`, unmount `pool` in the state directory, and remove that"
        )
    }

    async fn told_to_go(&self) -> Result<Option<Versioned<RemovedNode>>, ClusterError> {
        self.cluster.get(&self.node.identity).await
    }

    /// The record as it should be, and what makes it so.
    async fn wanted(&self) -> anyhow::Result<(Node, Option<Changes>)> {
        if self.told_to_go().await?.is_some() {
            return Err(self.farewell());
        }
        let known = self.cluster.get::<Node>(self.node.name.as_str()).await?;
        let Some(Versioned { value: known, revision }) = known else {
            return Ok((self.node.clone(), Some(self.cluster.change().create(&self.node))));
        };
        if known.identity != self.node.identity {
            bail!(
                "the name `{name}` belongs to another installation, which answers at {api}\nhint: give this node another name with `--node`; if it replaces a machine that is gone, restore that one's `identity` file, or remove that one with `flocker node rm {name}`",
                name = known.name,
                api = known.api
            );
        }
        let node = merged(&known, &self.node);
        let changes = (node != known).then(|| self.cluster.change().replace(revision, &node));
        Ok((node, changes))
    }

    /// Tries until the store answers.
    async fn patiently<T>(
        &self,
        stop: &CancellationToken,
        attempt: impl AsyncFn() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let mut said = String::new();
        loop {
            let answered = tokio::select! {
                () = stop.cancelled() => return Err(AskedToEnd("the cluster's store").into()),
                answered = attempt() => answered,
            };
            match answered {
                Err(error) if is_passing(&error) => {
                    if said != error.to_string() {
                        tracing::warn!(%error, "waiting for the cluster's store; is `--join` the node that holds it?");
                        said = error.to_string();
                    }
                }
                answered => return answered,
            }
            tokio::time::sleep(STORE_PAUSE).await;
        }
    }
}

/// Whether the store may answer otherwise in a moment. A record or a store that cannot be read stays what it is. Somebody
/// else who answers at its address may be a proxy that answers for it while its node is down.
fn is_passing(error: &anyhow::Error) -> bool {
    match error.downcast_ref() {
        Some(ClusterError::Store(error)) => match error {
            StoreError::Unreachable { .. }
            | StoreError::Conflict { .. }
            | StoreError::Compacted { .. }
            | StoreError::Failed { .. } => true,
            StoreError::Corrupt { .. } => false,
        },
        Some(ClusterError::Record(_)) | None => false,
    }
}

/// The record of a node that was known and says of itself what is `fresh`: labels that its configuration dropped go,
/// and what operators set stays.
fn merged(known: &Node, fresh: &Node) -> Node {
    let by_operators = known.labels.iter().filter(|(key, _)| !known.configured.contains(*key));
    let mut labels: BTreeMap<_, _> =
        by_operators.map(|(key, value)| (key.clone(), value.clone())).collect();
    labels.extend(fresh.labels.clone());
    Node { labels, draining: known.draining, ..fresh.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(labels: &[(&str, &str)], configured: &[&str]) -> Node {
        let at = "10.0.0.1:1".parse().unwrap();
        Node {
            name: "n1".parse().unwrap(),
            api: at,
            mesh: at,
            replication: at,
            labels: labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            configured: configured.iter().map(|key| (*key).to_owned()).collect(),
            draining: false,
            identity: "one".to_owned(),
            stream_key: None,
        }
    }

    #[test]
    fn a_key_that_is_new_or_gone_is_announced_as_it_is() {
        let keys = [1, 2].map(|byte| Some(StreamKey([byte; 32])));
        let with = |stream_key| Node { stream_key, ..node(&[], &[]) };

        for (known, fresh) in [(keys[0], keys[1]), (None, keys[0]), (keys[0], None)] {
            assert_eq!(merged(&with(known), &with(fresh)).stream_key, fresh);
        }
    }

    #[test]
    fn a_label_that_the_configuration_drops_goes_and_an_operators_stays() {
        let known = node(&[("zone", "east"), ("disk", "hdd"), ("rack", "7")], &["zone", "disk"]);
        let known = Node { draining: true, ..known };
        let fresh = node(&[("disk", "ssd")], &["disk"]);

        let merged = merged(&known, &fresh);

        assert_eq!(merged.labels, node(&[("disk", "ssd"), ("rack", "7")], &[]).labels);
        assert_eq!(merged.configured, fresh.configured);
        assert!(merged.draining, "what an operator asked for is forgotten");
    }
}
