//! Says which apps had better be elsewhere: here, one of the node that has the most, where it has the fewest neighbours.

use flocker_sdk::{App, Cluster, Move, Policy, Rebalance};

#[derive(Debug, Default)]
pub struct {{type}};

impl Policy for {{type}} {}

impl Rebalance for {{type}} {
    fn plan(&self, cluster: &Cluster, movable: &[App], max_moves: usize) -> Vec<Move> {
        let nodes = cluster.nodes();
        let usable = || nodes.iter().filter(|n| n.is_alive() && !n.is_draining());
        let Some(most) = usable().max_by_key(|n| n.apps()) else {
            return vec![];
        };
        let Some(fewest) = usable().min_by_key(|n| n.apps()) else {
            return vec![];
        };
        // A difference of one would only change sides.
        if max_moves == 0 || most.apps() < fewest.apps() + 2 {
            return vec![];
        }
        let on_it = |app: &&App| app.node().is_some_and(|n| n.name() == most.name());
        let because = format!("{} apps there, {} here", most.apps(), fewest.apps());
        let better = |app: &App| Move::new(app, fewest, 1.0).because(because);
        movable.iter().find(on_it).map(better).into_iter().collect()
    }
}

flocker_sdk::export!({{type}}: Rebalance);

#[cfg(test)]
mod tests {
    use super::*;
    use flocker_sdk::Node;

    #[test]
    fn nothing_moves_for_a_difference_of_one() {
        let nodes = [
            Node::sample("a").with_apps(2),
            Node::sample("b").with_apps(1),
        ];
        let cluster = Cluster::sample(nodes, [App::sample("shop").on("a")], [], []);

        assert_eq!({{type}}.plan(&cluster, &cluster.apps(), 5), []);
    }
}
