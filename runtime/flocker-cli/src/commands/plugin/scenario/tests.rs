//! Every kind of question, answered by a policy whose answers are known.

use std::{sync::Arc, time::Duration};

use flocker_planner::{
    Answer, BuiltIn, ClusterView, Copied, Course, Droppable, Due, Evidence, Incident,
    PlacementQuestion, Policies, PolicyAnswer, ProposedMove, PruneQuestion, RebalanceQuestion,
    Schedule, ScheduleQuestion, Verdict,
};

use super::*;

/// An app goes where most is left, nothing moves, volumes wait for an operator, a snapshot each hour, kept
/// unless another follows within half of that.
#[derive(Debug)]
struct Known;

const HOUR: Duration = Duration::from_hours(1);

impl Policies for Known {
    fn place(
        &self,
        view: &Arc<ClusterView>,
        asked: &PlacementQuestion,
    ) -> Vec<PolicyAnswer<Answer>> {
        BuiltIn.place(view, asked)
    }

    fn fail_over(&self, _: &Arc<ClusterView>, asked: &Incident) -> Vec<PolicyAnswer<Vec<Verdict>>> {
        let freeze = |_: &u32| Verdict { course: Course::Freeze, reason: String::new() };
        says(asked.volumes.iter().map(freeze).collect())
    }

    fn schedule(
        &self,
        view: &Arc<ClusterView>,
        asked: &ScheduleQuestion,
    ) -> Vec<PolicyAnswer<Schedule>> {
        let due = |row: &u32| {
            let last = view.volumes[*row as usize].snapshot;
            let at = last.map_or(view.now, |last| last + HOUR);
            Due { volume: *row, at, lane: "snapshot".into(), label: "hourly".into() }
        };
        let due = asked.volumes.iter().map(due);
        let due = due.filter(|due| due.at.since(view.now) <= asked.horizon).collect();
        says(Schedule { due, ask_again: asked.horizon })
    }

    fn prune(
        &self,
        _: &Arc<ClusterView>,
        asked: &PruneQuestion,
    ) -> Vec<PolicyAnswer<Vec<Droppable>>> {
        let followed = |pair: &[Copied]| pair[1].taken.since(pair[0].taken) < HOUR / 2;
        let pairs = (0..).zip(asked.copies.windows(2));
        let old = pairs.filter(|(_, pair)| followed(pair)).map(|(copy, _)| copy);
        says(old.map(|copy| Droppable { copy, reason: String::new() }).collect())
    }
}

fn says<A>(answer: A) -> Vec<PolicyAnswer<A>> {
    vec![PolicyAnswer {
        policy: "known".into(),
        digest: String::new(),
        weight: 1,
        shadow: false,
        answer: Ok(answer),
        evidence: Evidence::default(),
    }]
}

const ALL: [Hook; 4] = [Hook::Placement, Hook::Rebalance, Hook::Failover, Hook::BackupSchedule];

const CLUSTER: &str = r#"
[cluster]
nodes = [{ name = "b", alive = false }, { name = "a" }]
apps = [{ name = "shop", node = "b", memory-bytes = "1GiB" }]
volumes = [{ name = "shop.data", app = "shop", snapshot-ms = "50m ago" }]
replicas = [{ volume = "shop.data", node = "a", taken-ms = "1m ago" }]
"#;

/// What is not as expected, as `what: expected / got`.
fn asked(questions: &str) -> Result<Vec<String>, String> {
    let scenario = Scenario::parse(&format!("{CLUSTER}{questions}"), false)?;
    let outcomes = scenario.ask(&Known, &ALL)?;
    let mismatches = outcomes.into_iter().flat_map(|o| o.mismatches);
    Ok(mismatches.map(|m| format!("{}: {} / {}", m.what, m.expected, m.got)).collect())
}

#[track_caller]
fn check(questions: &str, mismatches: &[&str]) {
    assert_eq!(asked(questions).unwrap(), mismatches);
}

/// The first app is to go to the second node, the others to the first.
#[derive(Debug)]
struct Careless;

impl Policies for Careless {
    fn place(
        &self,
        view: &Arc<ClusterView>,
        asked: &PlacementQuestion,
    ) -> Vec<PolicyAnswer<Answer>> {
        BuiltIn.place(view, asked)
    }

    fn rebalance(
        &self,
        _: &Arc<ClusterView>,
        _: &RebalanceQuestion,
    ) -> Vec<PolicyAnswer<Vec<ProposedMove>>> {
        let to = |(app, target)| ProposedMove { app, target, gain: 1.0, reason: String::new() };
        says([(0, 1), (1, 0), (2, 0)].map(to).to_vec())
    }
}

#[test]
fn a_move_that_no_node_would_make_is_remarked_on() {
    let scenario = r#"
        cluster.nodes = [{ name = "b", alive = false }, { name = "a" }]
        cluster.apps = [
            { name = "shop", node = "b" }, { name = "blog", node = "a" }, { name = "wiki", node = "a" }
        ]
        [[rebalance]]
        expect = { moves = [
            { app = "blog", target = "b" }, { app = "shop", target = "a" }, { app = "wiki", target = "a" }
        ] }
    "#;

    let asked = Scenario::parse(scenario, false).unwrap().ask(&Careless, &ALL).unwrap();

    assert_eq!(asked[0].mismatches, []);
    assert_eq!(
        asked[0].said.remarks,
        [
            "blog -> b would not be made: `b` does not answer",
            "wiki -> a would not be made: it is on `a` already"
        ]
    );
}

#[test]
fn questions_that_are_put_alike_are_told_apart() {
    let expect = "expect = { courses = { \"shop.data\" = \"freeze\" } }\n";
    let questions = format!(
        "{CLUSTER}{SILENT}{expect}{SILENT}{expect}[[rebalance]]\nexpect = {{ moves = [] }}"
    );

    let asked = Scenario::parse(&questions, false).unwrap().ask(&Known, &ALL).unwrap();

    let titles: Vec<_> = asked.iter().map(|outcome| outcome.title.as_str()).collect();
    assert_eq!(
        titles,
        ["rebalance", "failover of node `b`, 1 of 2", "failover of node `b`, 2 of 2"]
    );
}

#[test]
fn moves_are_compared_in_their_order() {
    check("[[rebalance]]\nexpect = { moves = [] }", &[]);
    check(
        "[[rebalance]]\nexpect = { moves = [{ app = \"shop\", target = \"a\" }] }",
        &["moves: shop -> a / none"],
    );
}

const SILENT: &str =
    "[[failover]]\nnode = \"b\"\nsilent-ms = \"30s\"\nfenced = true\nvotes = 2\nquorum = 2\n";

#[test]
fn courses_are_compared_per_volume() {
    let expect = |course: &str| {
        format!("{SILENT}expect = {{ courses = {{ \"shop.data\" = \"{course}\" }} }}")
    };
    check(&expect("freeze"), &[]);
    check(&expect("promote a"), &["course of shop.data: promote a / freeze"]);
    check(&expect("wait 5000ms"), &["course of shop.data: wait 5s / freeze"]);
    assert!(asked(&expect("run")).unwrap_err().contains("`run` is none of"));
    assert!(asked(&expect("promote z")).unwrap_err().contains("no node `z`"));
}

#[test]
fn what_is_due_is_compared_with_its_time() {
    let expect = |due: &str| {
        format!(
            "[[schedule]]\nhorizon-ms = \"15m\"\nexpect = {{ due = [{due}], ask-again-ms = \"15m\" }}"
        )
    };
    let due = |at: &str| {
        expect(&format!(
            "{{ volume = \"shop.data\", lane = \"snapshot\", at-ms = \"{at}\", label = \"hourly\" }}"
        ))
    };
    check(&due("in 10m"), &[]);
    check(&due("now"), &["shop.data snapshot, when: now / in 10m"]);
    check(&expect(""), &["due: none / shop.data snapshot"]);
}

#[test]
fn copies_are_compared_whatever_their_order() {
    let expect = |expect: &str| {
        format!(
            "[[prune]]\nvolume = \"shop.data\"\nlane = \"snapshot\"\nexpect = {{ {expect} }}\n\
             copies = [{{ tag = \"new\", taken-ms = \"61m ago\" }}, {{ tag = \"old\", taken-ms = \"62m ago\" }}]"
        )
    };
    check(&expect("kept = [\"new\"], dropped = [\"old\"]"), &[]);
    check(&expect("kept = [\"old\", \"new\"]"), &["kept: old, new / new"]);
    assert!(asked(&expect("kept = [\"none\"]")).unwrap_err().contains("no copy `none`"));
}

#[test]
fn what_an_app_needs_is_in_the_cluster_and_holders_follow_from_replicas() {
    let placement = "[[placement]]\napp = \"shop\"\npurpose = \"drain\"\nexpect = ";
    check(
        &format!("{placement}{{ node = \"a\", refused = [], reasons = {{ a = \"built-in\" }} }}"),
        &[],
    );
    check(&format!("{placement}{{ scores = {{ b = 1 }} }}"), &["score of b: 1 / it was excluded"]);
    check(&format!("{placement}{{ failure = \"trap\" }}"), &["failure: trap / none"]);
}

#[test]
fn a_scenario_that_can_only_pass_is_refused() {
    let said = |questions: &str| asked(questions).unwrap_err();
    assert_eq!(said(""), "it asks nothing");
    assert_eq!(said("[[rebalance]]\nexpect = {}"), "rebalance: `expect` says nothing");
    let scenario =
        Scenario::parse(&format!("{CLUSTER}[[rebalance]]\nexpect = {{ moves = [] }}"), false);
    let said = scenario.unwrap().ask(&Known, &[Hook::Placement]).unwrap_err();
    assert_eq!(said, "rebalance: the plugin has no hook `rebalance`; it has placement");
    let twice = r#"{"cluster": {"nodes": [{"name": "a"}, {"name": "a"}]}}"#;
    let said = Scenario::parse(twice, true).unwrap().ask(&Known, &ALL).unwrap_err();
    assert_eq!(said, "there are two nodes of the name `a`");
}

#[test]
fn the_examples_are_scenarios() {
    let zone = include_str!("../../../../../../examples/scenarios/zone.toml");
    let hourly = include_str!("../../../../../../examples/scenarios/hourly.json");
    assert_eq!(Scenario::parse(zone, false).unwrap().settings(), r#"{"zone":"eu"}"#);
    let outcomes = Scenario::parse(hourly, true).unwrap().ask(&Known, &ALL).unwrap();
    assert!(outcomes.iter().all(|o| o.mismatches.is_empty()), "{outcomes:?}");
}
