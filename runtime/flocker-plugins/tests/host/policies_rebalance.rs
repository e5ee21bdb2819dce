//! `level`, as an operator uses it.

use std::{collections::BTreeMap, sync::Arc};

use flocker_model::{AppName, ByteSize, CpuMillis, Epoch, OperationId, Timestamp};
use flocker_planner::{AppRow, ClusterView, Policies, RebalanceQuestion, rebalance};
use flocker_plugins::Hook;

use crate::{
    guest::{loaded, wasm},
    world::{World, configured, view},
};

/// On `c`, where 12 of 16 GiB are promised, are an app of 4, one of 6 and one that names no limit.
fn crowded() -> Arc<ClusterView> {
    let app = |name: &str, gib: u64| AppRow {
        name: AppName::new(name).unwrap(),
        node: Some(2),
        epoch: Epoch(1),
        memory: ByteSize::gib(gib),
        cpu: CpuMillis(0),
        size: ByteSize::gib(1),
        placed: Timestamp(0),
        labels: BTreeMap::new(),
    };
    let apps = vec![app("news", 4), app("shop", 6), app("wiki", 0)];
    Arc::new(ClusterView { apps, ..ClusterView::clone(&view()) })
}

fn with_level(settings: &str) -> World {
    loaded(Hook::Rebalance, &[("level", settings)])
}

/// The moves as rows of apps and nodes, with the reasons.
fn moves(world: &World, movable: &[u32], moves_max: u32) -> Vec<(u32, u32, String)> {
    let question = RebalanceQuestion {
        decision: OperationId::new("op-1").unwrap(),
        seed: 1,
        movable: movable.to_vec(),
        moves_max,
    };
    let answers = world.host.rebalance(&crowded(), &question);
    let decided = rebalance::decide(&crowded(), &question, answers);
    assert_eq!(decided.consultation.failures, []);
    decided.moves.into_iter().map(|(_, m)| (m.app, m.target, m.reason)).collect()
}

#[test]
fn the_app_that_helps_most_goes_to_the_emptiest_node() {
    let level = with_level("");
    let reason = "`c` has promised 75 % of its memory, `a` 0 %".to_owned();
    assert_eq!(moves(&level, &[0, 1, 2], 1), [(1, 0, reason.clone())]);
    assert_eq!(moves(&level, &[0, 1, 2], 5), [(1, 0, reason)]);
}

#[test]
fn only_what_may_be_moved_is_moved() {
    let level = with_level("");
    assert_eq!(moves(&level, &[2], 5), []);
    assert_eq!(moves(&level, &[0], 5).len(), 1);
}

#[test]
fn an_operator_says_what_a_move_has_to_bring() {
    assert_eq!(moves(&with_level(r#"{"margin_percent": 60}"#), &[0, 1, 2], 5), []);
    let refused =
        World::new().host.load(&configured(&wasm("level"), r#"{"margin_percent": 0}"#, 1));
    let said = refused.unwrap_err().to_string();
    assert!(said.contains("`/margin_percent`"), "{said}");
}
