//! Failover that loses little or does nothing: it waits, then promotes the newest replica if that is fresh enough, and
//! leaves everything else to an operator.

mod logic;
mod settings;

use flocker_sdk::{Cluster, Failover, Incident, Policy, Replica, Verdict, Volume};

use crate::{
    logic::{Choice, Held, choose},
    settings::Settings,
};

/// Glue between the SDK and the logic.
#[derive(Debug, Default)]
pub struct Careful {
    settings: Settings,
}

impl Policy for Careful {
    const SETTINGS_SCHEMA: &str = settings::SCHEMA;

    fn configure(&mut self, settings: &str) -> Result<(), String> {
        self.settings = flocker_sdk::settings(settings)?;
        Ok(())
    }
}

impl Failover for Careful {
    fn decide(&self, _: &Cluster, incident: &Incident, volume: &Volume) -> Verdict {
        let silent = incident.silent();
        if let Some(left) = self.settings.wait().checked_sub(silent).filter(|l| !l.is_zero()) {
            let why = format!(
                "silent for {} s, not yet {} s",
                silent.as_secs(),
                self.settings.wait().as_secs()
            );
            return Verdict::wait(left).because(why);
        }
        let live = |replica: &Replica| {
            replica.node().is_some_and(|node| node.is_alive() && node != *incident.node())
        };
        let replicas: Vec<_> = volume.replicas().into_iter().filter(live).collect();
        let held: Vec<_> = replicas
            .iter()
            .map(|r| Held { taken: r.taken(), draining: r.node().is_some_and(|n| n.is_draining()) })
            .collect();
        match choose(&held, volume.written(), incident.silent_since(), self.settings.max_lag()) {
            Choice::Promote { position, why } => Verdict::promote(&replicas[position]).because(why),
            Choice::Freeze { why } => Verdict::freeze(why),
        }
    }
}

flocker_sdk::export!(Careful: Failover);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use flocker_sdk::{Node, Timestamp};

    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    /// `a` is silent; `b` and `c` hold replicas of its volume, and the newer one is on the node that `silent` names.
    fn verdict(seconds: u64, silent: &str) -> (Verdict, Vec<Replica<'static>>) {
        let node = |name: &str| match name == silent || name == "a" {
            true => Node::sample(name).silent(),
            false => Node::sample(name),
        };
        let cluster = Cluster::sample(
            [node("a"), node("b"), node("c")],
            [],
            [Volume::sample("data").on("a")],
            [
                Replica::sample("data", "b").with_taken(NOW.before(Duration::from_secs(50))),
                Replica::sample("data", "c").with_taken(NOW.before(Duration::from_secs(70))),
            ],
        );
        let incident = Incident::sample(&cluster.node("a"), NOW, Duration::from_secs(seconds));
        let verdict = Careful::default().decide(&cluster, &incident, &cluster.volume("data"));
        (verdict, cluster.replicas())
    }

    #[test]
    fn it_waits_before_it_promotes() {
        let (verdict, _) = verdict(29, "");
        assert_eq!(verdict.waits(), Some(Duration::from_secs(1)), "{verdict:?}");
    }

    #[test]
    fn it_promotes_only_what_is_on_a_node_that_answers() {
        let (newest, replicas) = verdict(30, "");
        assert!(newest.promotes(&replicas[0]), "{newest:?}");
        let (other, replicas) = verdict(30, "b");
        assert!(other.promotes(&replicas[1]), "{other:?}");
    }

    #[test]
    fn settings_change_what_it_risks() {
        let mut policy = Careful::default();
        policy.configure(r#"{"wait_seconds": 0, "max_lag_seconds": 5}"#).unwrap();
        let cluster = Cluster::sample(
            [Node::sample("a").silent(), Node::sample("b")],
            [],
            [Volume::sample("data").on("a")],
            [Replica::sample("data", "b").with_taken(NOW.before(Duration::from_secs(6)))],
        );
        let incident = Incident::sample(&cluster.node("a"), NOW, Duration::ZERO);
        let verdict = policy.decide(&cluster, &incident, &cluster.volume("data"));
        assert!(verdict.is_freeze() && verdict.reason().contains("6.0 s behind"), "{verdict:?}");
    }
}
