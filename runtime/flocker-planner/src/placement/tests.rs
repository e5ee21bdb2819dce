//! What placement promises, for single cases and for all.

use std::{collections::BTreeMap, sync::Arc};

use expect_test::{Expect, expect};
use flocker_model::{
    AppName, ByteSize, Capacity, CpuMillis, NodeName, OperationId, PlacementRules, Purpose,
    Revision, Timestamp,
};
use proptest::prelude::*;

use super::*;
use crate::{NodeRow, Reason, policies::samples};

fn node(name: &str, apps: u32, promised_gib: u64) -> NodeRow {
    let total = ByteSize::gib(16);
    let promised = ByteSize::gib(promised_gib);
    NodeRow {
        memory: Capacity { total, free: ByteSize(total.0 - promised.0) },
        cpu: CpuMillis(4000),
        memory_promised: promised,
        pool: Capacity { total: ByteSize::gib(100), free: ByteSize::gib(50) },
        apps,
        ..NodeRow::new(NodeName::new(name).unwrap())
    }
}

fn view(nodes: Vec<NodeRow>) -> Arc<ClusterView> {
    let view = ClusterView {
        generation: Revision(7),
        now: Timestamp(1_000),
        nodes,
        ..ClusterView::default()
    };
    Arc::new(view)
}

fn question(candidates: Vec<u32>) -> PlacementQuestion {
    PlacementQuestion {
        decision: OperationId::new("op-1").unwrap(),
        seed: 42,
        what: crate::Placed::App,
        purpose: Purpose::Create,
        name: AppName::new("shop").unwrap(),
        app: None,
        volumes: vec![],
        current: None,
        size: ByteSize::gib(1),
        memory: ByteSize::gib(1),
        cpu: CpuMillis(500),
        holders: vec![],
        labels: BTreeMap::new(),
        candidates,
    }
}

fn said_by(
    policy: &str,
    weight: u32,
    answer: Result<Answer, PolicyFailure>,
) -> PolicyAnswer<Answer> {
    PolicyAnswer { digest: "d".into(), weight, ..samples::answer(policy, answer) }
}

fn scores(scores: &[i32]) -> Result<Answer, PolicyFailure> {
    Ok(Answer { scores: scores.to_vec(), ..Answer::default() })
}

fn three() -> Arc<ClusterView> {
    view(vec![node("a", 0, 0), node("b", 1, 4), node("c", 2, 8)])
}

/// The only function here that knows how a decision is made and shown.
#[track_caller]
fn check_decision(answers: Vec<PolicyAnswer<Answer>>, want: Expect) {
    want.assert_eq(&decide(&three(), &question(vec![0, 1, 2]), answers, &BuiltIn).to_string());
}

#[test]
fn without_policies_the_emptiest_node_wins() {
    check_decision(
        vec![],
        expect![[r#"
            app `shop` (create): `a`
            decided by the built-in policy, as no plugin is configured
              a               9177   built-in 0.1.0: 9177
              b               5927   built-in 0.1.0: 5927
              c               4344   built-in 0.1.0: 4344
        "#]],
    );
}

#[test]
fn weights_count_and_one_refusal_is_enough() {
    let mut careful = Answer { scores: vec![-1, 0, 9000], ..Answer::default() };
    careful.reasons.push(Reason { candidate: 0, code: 7, text: "its rack is hot".into() });
    check_decision(
        vec![
            said_by("fast 1.0.0", 3, scores(&[10_000, 8000, 0])),
            said_by("careful 1.0.0", 1, Ok(careful)),
        ],
        expect![[r#"
            app `shop` (create): `b`
            decided by the policies
            a score is 3/4 fast 1.0.0 + 1/4 careful 1.0.0, and one refusal is enough
              b               6000   fast 1.0.0: 8000, careful 1.0.0: 0
              c               2250   fast 1.0.0: 0, careful 1.0.0: 9000
              a            refused   fast 1.0.0: 10000, careful 1.0.0: refused (its rack is hot)
        "#]],
    );
}

#[test]
fn a_tie_is_settled_by_where_the_app_is_and_otherwise_by_a_lot() {
    let equal = || vec![said_by("flat 1.0.0", 1, scores(&[5000, 5000, 4000]))];
    check_decision(
        equal(),
        expect![[r#"
            app `shop` (create): `a`
            decided by the policies
            `a` comes before `b` of the same score by a lot, drawn from the decision's id
              a               5000   flat 1.0.0: 5000
              b               5000   flat 1.0.0: 5000
              c               4000   flat 1.0.0: 4000
        "#]],
    );
    let there = PlacementQuestion { current: Some(1), ..question(vec![0, 1, 2]) };

    let decision = decide(&three(), &there, equal(), &BuiltIn);

    let with = vec![NodeName::new("a").unwrap()];
    assert_eq!(decision.tie, Some(Tie { with, settled: Settled::Present }));
    assert_eq!(decision.at, Timestamp(1_000));
}

#[test]
fn what_each_policy_gave_is_kept_with_its_weight() {
    let answers = vec![
        said_by("mute 1.0.0", 0, scores(&[10_000, 8000, 0])),
        said_by("strict 1.0.0", 0, scores(&[-1, 0, 9000])),
    ];
    let decision = decide(&three(), &question(vec![0, 1, 2]), answers, &BuiltIn);

    let best = &decision.candidates[0];
    let given = best.opinions.iter().map(|o| (o.policy.as_str(), o.weight, o.score));
    // Where no weight counts, all count alike.
    let expected = [("mute 1.0.0", 1, Some(0)), ("strict 1.0.0", 1, Some(9000))];
    assert_eq!((best.score, given.collect::<Vec<_>>()), (Some(4500), expected.to_vec()));
    assert_eq!(decision.tie, None);
}

#[test]
fn an_answer_that_makes_no_sense_is_left_out_and_reported() {
    let stray = Answer {
        reasons: vec![Reason { candidate: 9, code: 0, text: "?".into() }],
        ..scores(&[1, 1, 1]).unwrap()
    };
    check_decision(
        vec![
            said_by("short 1.0.0", 1, scores(&[1, 2])),
            said_by("high 1.0.0", 1, scores(&[1, 10_001, 1])),
            said_by("low 1.0.0", 1, scores(&[1, -2, 1])),
            said_by("stray 1.0.0", 1, Ok(stray)),
            said_by("good 1.0.0", 1, scores(&[1, 2, 3])),
        ],
        expect![[r#"
            app `shop` (create): `c`
            decided by the policies
              c                  3   good 1.0.0: 3
              b                  2   good 1.0.0: 2
              a                  1   good 1.0.0: 1
              policy `short 1.0.0` failed (invalid-answer): 2 scores for 3 candidates
              policy `high 1.0.0` failed (invalid-answer): score 10001 for node row 1; allowed are -1 and 0 to 10000
              policy `low 1.0.0` failed (invalid-answer): score -2 for node row 1; allowed are -1 and 0 to 10000
              policy `stray 1.0.0` failed (invalid-answer): a reason for node row 9, which is not a candidate
        "#]],
    );
}

#[test]
fn when_every_policy_fails_the_built_in_decides_and_says_so() {
    let trap = PolicyFailure { class: "trap".into(), message: "unreachable".into() };
    check_decision(
        vec![said_by("broken 1.0.0", 1, Err(trap))],
        expect![[r#"
            app `shop` (create): `a`
            decided by the built-in policy, as no plugin gave an answer that could be used
              a               9177   built-in 0.1.0: 9177
              b               5927   built-in 0.1.0: 5927
              c               4344   built-in 0.1.0: 4344
              policy `broken 1.0.0` failed (trap): unreachable
        "#]],
    );
}

#[test]
fn hard_rules_exclude_with_a_reason_each() {
    let mut nodes = vec![
        node("alive", 0, 0),
        node("dead", 0, 0),
        node("draining", 0, 0),
        node("full", 0, 16),
        node("mute", 0, 0),
        node("other", 0, 0),
        node("tight", 0, 0),
    ];
    for node in &mut nodes {
        node.labels.insert("zone".into(), "eu".into());
    }
    nodes[1].alive = false;
    nodes[2].draining = true;
    nodes[4].memory = Capacity::default();
    nodes[5].labels.insert("zone".into(), "us".into());
    nodes[6].pool.free = ByteSize::mib(512);
    let rules = PlacementRules {
        labels: BTreeMap::from([("zone".into(), "eu".into())]),
        ..PlacementRules::default()
    };

    let decision = place(&view(nodes), &rules, question(vec![]), &BuiltIn, &BuiltIn);

    expect![[r#"
        app `shop` (create): `alive`
        decided by the policies
          alive           9177   built-in 0.1.0: 9177
          dead              no   does not answer
          draining          no   is draining
          full              no   has 0 B of memory left, the app needs 1.0 GiB
          mute              no   has not said yet how much memory it has, the app needs 1.0 GiB
          other             no   has label `zone=us`, the app asks for `eu`
          tight             no   has 512.0 MiB of space in its pool left, the app needs 1.0 GiB
    "#]]
    .assert_eq(&decision.to_string());
}

#[test]
fn nothing_is_decided_without_nodes_and_it_says_why() {
    let mut only = node("a", 0, 0);
    only.draining = true;

    let decision =
        place(&view(vec![only]), &PlacementRules::default(), question(vec![]), &BuiltIn, &BuiltIn);

    assert_eq!(decision.decided_by, DecidedBy::Rules);
    assert_eq!(decision.why_none().as_deref(), Some("`a` is draining"));
}

#[test]
fn a_full_node_keeps_the_app_that_it_holds() {
    let rules = PlacementRules::default();
    let here =
        PlacementQuestion { current: Some(0), purpose: Purpose::Rebalance, ..question(vec![]) };

    let allowed = candidates(&view(vec![node("a", 1, 16)]), &rules, &here);

    assert_eq!(allowed.rows, [0]);
}

/// Where storage is of another kind the data cannot go; an app without any can, and so can one whose node does not say.
#[test]
fn an_app_with_volumes_stays_among_nodes_that_understand_its_streams() {
    let allowed = |volumes: Vec<u32>, streams: [&str; 3]| {
        let mut nodes = vec![node("a", 0, 0), node("b", 0, 0), node("c", 0, 0)];
        for (node, streams) in nodes.iter_mut().zip(streams) {
            node.streams = streams.to_owned();
        }
        let question = PlacementQuestion { current: Some(0), volumes, ..question(vec![]) };
        candidates(&view(nodes), &PlacementRules::default(), &question)
    };

    let found = allowed(vec![0], ["btrfs", "folders", "btrfs"]);
    assert_eq!(found.rows, [0, 2]);
    let reason = "takes `folders` streams, the volumes are on `a`, which sends `btrfs`";
    assert_eq!(found.excluded[0].reason, reason);
    assert_eq!(allowed(vec![], ["btrfs", "folders", "btrfs"]).rows, [0, 1, 2]);
    assert_eq!(allowed(vec![0], ["btrfs", "", "btrfs"]).rows, [0, 1, 2]);
    assert_eq!(allowed(vec![0], ["", "folders", "btrfs"]).rows, [0, 1, 2]);
}

#[test]
fn a_pinned_app_is_rebalanced_nowhere_but_drained() {
    let rules = PlacementRules { pinned: true, ..PlacementRules::default() };
    let asked = |purpose| {
        let question = PlacementQuestion { current: Some(1), purpose, ..question(vec![]) };
        candidates(&three(), &rules, &question).rows
    };

    assert_eq!(asked(Purpose::Rebalance), [1]);
    assert_eq!(asked(Purpose::Drain), [0, 1, 2]);
}

#[test]
fn a_small_advantage_is_not_worth_a_move() {
    let b = NodeName::new("b").unwrap();
    let asked = |a: i32, present: i32| {
        let question = PlacementQuestion {
            current: Some(1),
            purpose: Purpose::Rebalance,
            ..question(vec![0, 1, 2])
        };
        let decision =
            decide(&three(), &question, vec![said_by("p", 1, scores(&[a, present, 0]))], &BuiltIn);
        worth_moving(&decision, &b, 2000).map(ToString::to_string)
    };

    assert_eq!(asked(6999, 5000), None);
    assert_eq!(asked(7000, 5000).as_deref(), Some("a"));
    assert_eq!(asked(1, -1).as_deref(), Some("a"));
    assert_eq!(asked(5000, 5000), None);
}

#[test]
fn a_failing_policy_moves_nothing() {
    let question = PlacementQuestion {
        current: Some(2),
        purpose: Purpose::Rebalance,
        ..question(vec![0, 1, 2])
    };
    let trap = PolicyFailure { class: "trap".into(), message: "unreachable".into() };

    let decision = decide(&three(), &question, vec![said_by("p", 1, Err(trap))], &BuiltIn);

    assert_eq!(decision.chosen, Some(NodeName::new("a").unwrap()));
    assert_eq!(worth_moving(&decision, &NodeName::new("c").unwrap(), 2000), None);
}

/// A cluster of `n` nodes, a policy's scores for all of them, and an order in which to show them.
fn world() -> impl Strategy<Value = (Vec<NodeRow>, Vec<Vec<i32>>, Vec<usize>, u64)> {
    (1usize..8).prop_flat_map(|n| {
        let nodes: Vec<_> = (0..n).map(|i| (Just(i), 0u32..4, 0u64..17)).collect();
        let nodes = nodes.prop_map(|all| {
            all.into_iter().map(|(i, apps, gib)| node(&format!("n{i}"), apps, gib)).collect()
        });
        let answers = prop::collection::vec(prop::collection::vec(-2i32..10_003, n), 0..4);
        (nodes, answers, Just((0..n).collect::<Vec<_>>()).prop_shuffle(), any::<u64>())
    })
}

fn answers_of(all: &[Vec<i32>]) -> Vec<PolicyAnswer<Answer>> {
    (1..).zip(all).map(|(weight, s)| said_by(&format!("p{weight}"), weight, scores(s))).collect()
}

proptest! {
    #[test]
    fn never_picks_a_refused_node_or_one_that_is_no_candidate((nodes, all, _, seed) in world()) {
        let rows: Vec<u32> = (0..).zip(&nodes).map(|(row, _)| row).filter(|row| row % 2 == 0).collect();
        let asked = PlacementQuestion { seed, ..question(rows.clone()) };
        let shown: Vec<Vec<i32>> = all.iter().map(|s| s.iter().copied().step_by(2).collect()).collect();
        let cluster = view(nodes);

        let decision = decide(&cluster, &asked, answers_of(&shown), &BuiltIn);

        let usable: Vec<_> = shown.iter().filter(|s| s.iter().all(|x| (-1..=10_000).contains(x))).collect();
        if let Some(chosen) = &decision.chosen {
            let position = rows.iter().position(|r| &cluster.nodes[*r as usize].name == chosen);
            prop_assert!(position.is_some());
            prop_assert!(usable.iter().all(|s| s[position.unwrap()] >= 0));
        } else {
            prop_assert!((0..rows.len()).all(|i| usable.iter().any(|s| s[i] == -1)));
        }
        prop_assert_eq!(decision.failures.len(), shown.len() - usable.len());
    }

    #[test]
    fn the_order_of_nodes_does_not_matter((nodes, all, order, seed) in world()) {
        let rows: Vec<u32> = (0..).zip(&nodes).map(|(row, _)| row).collect();
        let asked = PlacementQuestion { seed, ..question(rows) };
        let shuffled = view(order.iter().map(|i| nodes[*i].clone()).collect());
        let moved: Vec<Vec<i32>> = all.iter().map(|s| order.iter().map(|i| s[*i]).collect()).collect();

        let plain = decide(&view(nodes), &asked, answers_of(&all), &BuiltIn);
        let again = decide(&shuffled, &asked, answers_of(&moved), &BuiltIn);

        prop_assert_eq!(&plain.chosen, &again.chosen);
        prop_assert_eq!(&plain.candidates, &again.candidates);
    }
}
