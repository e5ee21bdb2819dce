//! Moves apps from full nodes to empty ones, one that helps most first, and none that helps little.

mod logic;
mod settings;

use std::collections::BTreeMap;

use flocker_sdk::{App, Cluster, Move, Node, Policy, Rebalance};

use crate::{
    logic::{Piece, Place, Step},
    settings::{Settings, What},
};

/// Glue between the SDK and the logic.
#[derive(Debug, Default)]
pub struct Level {
    settings: Settings,
}

impl Policy for Level {
    const SETTINGS_SCHEMA: &str = settings::SCHEMA;

    fn configure(&mut self, settings: &str) -> Result<(), String> {
        self.settings = flocker_sdk::settings(settings)?;
        Ok(())
    }
}

impl Rebalance for Level {
    fn plan(&self, cluster: &Cluster, movable: &[App], max_moves: usize) -> Vec<Move> {
        let what = self.settings.what;
        // Nodes that are away or on their way out neither give nor take; nor do those that have not said how large they are.
        let takes_part =
            |node: &Node| node.is_alive() && !node.is_draining() && whole(what, node) > 0;
        let nodes: Vec<_> = cluster.nodes().into_iter().filter(takes_part).collect();
        let places = nodes.iter().map(|node| place(what, node)).collect();
        let rows: BTreeMap<_, _> = nodes.iter().map(Node::name).zip(0..).collect();
        let (mut apps, mut pieces) = (Vec::new(), Vec::new());
        for app in movable {
            if let Some(at) = app.node().and_then(|node| rows.get(&node.name()).copied()) {
                apps.push(app);
                pieces.push(piece(what, app, at));
            }
        }
        let to_move = |step: Step| {
            let (source, target) = (&nodes[step.from], &nodes[step.to]);
            let why = reason(what, (source, step.from_level), (target, step.to_level));
            Move::new(apps[step.piece], target, step.gain).because(why)
        };
        logic::plan(places, &mut pieces, self.settings.margin(), max_moves)
            .into_iter()
            .map(to_move)
            .collect()
    }
}

/// The source and the target, with how full each was.
fn reason(what: What, source: (&Node, f64), target: (&Node, f64)) -> String {
    let ((source, full), (target, empty)) = (source, target);
    let (source, target) = (source.name(), target.name());
    let share = |of: &str| {
        let (full, empty) = (100.0 * full, 100.0 * empty);
        format!("`{source}` has promised {full:.0} % of its {of}, `{target}` {empty:.0} %")
    };
    match what {
        What::Memory => share("memory"),
        What::Cpu => share("CPU"),
        What::Apps => format!("`{source}` holds {full:.0} apps, `{target}` {empty:.0}"),
    }
}

fn whole(what: What, node: &Node) -> u64 {
    match what {
        What::Memory => node.memory(),
        What::Cpu => node.cpu_millis(),
        // As nodes are not full of apps at any number, the share is the number itself.
        What::Apps => 1,
    }
}

fn place(what: What, node: &Node) -> Place {
    let taken = match what {
        What::Memory => node.memory_promised(),
        What::Cpu => node.cpu_promised_millis(),
        What::Apps => node.apps(),
    };
    Place {
        whole: whole(what, node) as f64,
        taken: taken as f64,
        memory_free: node.memory_free(),
        pool_free: node.pool_free(),
    }
}

fn piece(what: What, app: &App, at: usize) -> Piece {
    let amount = match what {
        What::Memory => app.memory(),
        What::Cpu => app.cpu_millis(),
        What::Apps => 1,
    };
    Piece { at, amount: amount as f64, memory: app.memory(), size: app.size() }
}

flocker_sdk::export!(Level: Rebalance);

#[cfg(test)]
mod tests {
    use super::*;

    /// `a` is full, `b` is empty, `c` too but leaves; the apps on `a` need 10, 20 and nothing known.
    fn cluster() -> Cluster<'static> {
        let node =
            |name, promised| Node::sample(name).with_memory(100, promised).with_pool(100, 100);
        Cluster::sample(
            [node("a", 80).with_apps(3), node("b", 20), node("c", 0).with("draining", 1)],
            [
                App::sample("big").on("a").with_memory(20),
                App::sample("small").on("a").with_memory(10),
                App::sample("unknown").on("a"),
            ],
            [],
            [],
        )
    }

    fn plan(settings: &str, max_moves: usize) -> Vec<Move> {
        let mut policy = Level::default();
        policy.configure(settings).unwrap();
        let cluster = cluster();
        policy.plan(&cluster, &cluster.apps(), max_moves)
    }

    #[test]
    fn the_app_that_helps_most_goes_from_the_fullest_to_the_emptiest() {
        let cluster = cluster();
        let [first] = &plan("{}", 1)[..] else { panic!("one move") };
        assert!(first.leads(&cluster.app("big"), &cluster.node("b")), "{first:?}");
        assert_eq!(first.reason(), "`a` has promised 80 % of its memory, `b` 20 %");
        // From 30 points away from the mean each to 10.
        assert!((first.gain() - 20.0).abs() < 1e-9, "{first:?}");
    }

    #[test]
    fn what_helps_little_is_left_alone() {
        assert_eq!(plan("{}", 9).len(), 1);
        assert_eq!(plan(r#"{"margin_percent": 41}"#, 9).len(), 1);
        assert_eq!(plan(r#"{"margin_percent": 51}"#, 9).len(), 0);
    }

    #[test]
    fn apps_are_counted_where_that_is_wanted() {
        let [only] = &plan(r#"{"what": "apps"}"#, 9)[..] else { panic!("one move") };
        assert_eq!(only.reason(), "`a` holds 3 apps, `b` 0");
        assert_eq!(plan(r#"{"what": "cpu"}"#, 9).len(), 0);
        assert!(Level::default().configure(r#"{"what": "luck"}"#).is_err());
    }
}
