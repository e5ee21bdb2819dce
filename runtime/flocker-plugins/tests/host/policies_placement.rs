//! `labels`, as an operator uses it: what it reads from a cluster's columns and from a request.

use std::collections::BTreeMap;

use flocker_model::{AppName, ByteSize, CpuMillis, Epoch, Timestamp};
use flocker_planner::{
    AppRow, BuiltIn, ClusterView, DecidedBy, Decision, PlacementQuestion, Policies, decide,
};
use flocker_plugins::Hook;

use crate::{
    guest::loaded,
    world::{World, question, view},
};

/// An app on `a` that is in two groups.
fn neighbour() -> AppRow {
    let labels = [("placement.apart", "web"), ("placement.together", "cache")];
    AppRow {
        name: AppName::new("web-1").unwrap(),
        node: Some(0),
        epoch: Epoch(1),
        memory: ByteSize(0),
        cpu: CpuMillis(0),
        size: ByteSize(0),
        placed: Timestamp(0),
        labels: labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
    }
}

fn with_labels() -> World {
    loaded(Hook::Placement, &[("labels", "")])
}

/// What becomes of an app with these labels.
fn decided(world: &World, labels: &[(&str, &str)]) -> Decision {
    let view = ClusterView { apps: vec![neighbour()], ..ClusterView::clone(&view()) }.into();
    let labels: BTreeMap<_, _> =
        labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let question = PlacementQuestion { labels, ..question() };
    let decision = decide(&view, &question, world.host.place(&view, &question), &BuiltIn);
    assert_eq!(decision.decided_by, DecidedBy::Policies, "{decision}");
    decision
}

/// The scores of `a`, `b` and `c`.
fn scores(decision: &Decision) -> Vec<Option<u32>> {
    let mut candidates: Vec<_> = decision.candidates.iter().collect();
    candidates.sort_by(|a, b| a.node.cmp(&b.node));
    candidates.into_iter().map(|c| c.score).collect()
}

#[test]
fn an_app_without_rules_is_of_no_interest() {
    let world = with_labels();
    let decision = decided(&world, &[("traefik.enable", "true")]);
    assert_eq!(scores(&decision), [Some(5000); 3]);
    assert_eq!(decision.consulted[0].evidence.columns, Vec::<String>::new());
}

#[test]
fn labels_of_nodes_are_required_or_preferred() {
    let world = with_labels();
    let required = decided(&world, &[("placement.require.zone", "zone-b")]);
    assert_eq!(scores(&required), [None, Some(5000), None]);
    assert!(
        required.to_string().contains("label `zone` is `zone-a`, `zone-b` is required"),
        "{required}"
    );
    let preferred = decided(&world, &[("placement.prefer.zone", "zone-c")]);
    assert_eq!(scores(&preferred), [Some(0), Some(0), Some(10_000)]);
}

#[test]
fn groups_of_apps_are_found_in_the_cluster() {
    let world = with_labels();
    let apart = decided(&world, &[("placement.apart", "web")]);
    assert_eq!(scores(&apart), [None, Some(5000), Some(5000)]);
    assert!(apart.to_string().contains("`web-1` is there"), "{apart}");
    let together = decided(&world, &[("placement.together", "cache")]);
    assert_eq!(scores(&together), [Some(10_000), Some(0), Some(0)]);
}
