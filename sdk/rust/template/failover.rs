//! Says what becomes of the volumes of a silent node: here, the newest copy is promoted after a minute.

use std::time::Duration;

use flocker_sdk::{Cluster, Failover, Incident, Policy, Verdict, Volume};

const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub struct {{type}};

impl Policy for {{type}} {}

impl Failover for {{type}} {
    fn decide(&self, _cluster: &Cluster, incident: &Incident, volume: &Volume) -> Verdict {
        if incident.silent() < PATIENCE {
            return Verdict::wait(PATIENCE - incident.silent()).because("it may come back");
        }
        let replicas = volume.replicas();
        let living = replicas
            .iter()
            .filter(|r| r.node().is_some_and(|n| n.is_alive()));
        match living.max_by_key(|r| r.taken()) {
            Some(newest) => Verdict::promote(newest).because("it is the newest copy"),
            None => Verdict::freeze("there is no copy on a node that answers"),
        }
    }
}

flocker_sdk::export!({{type}}: Failover);

#[cfg(test)]
mod tests {
    use super::*;
    use flocker_sdk::{Node, Timestamp};

    #[test]
    fn a_volume_without_a_copy_is_left_to_an_operator() {
        let node = Node::sample("a");
        let volumes = [Volume::sample("shop.data").on("a")];
        let cluster = Cluster::sample([node.clone()], [], volumes, []);
        let incident = Incident::sample(&node, Timestamp(1_000_000), 2 * PATIENCE);

        let verdict = {{type}}.decide(&cluster, &incident, &cluster.volume("shop.data"));

        assert!(verdict.is_freeze(), "{verdict:?}");
    }
}
