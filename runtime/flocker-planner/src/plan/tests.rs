//! A cluster as a few lines, and what the planner makes of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::Arc,
};

use expect_test::{Expect, expect};
use flocker_model::{
    ByteSize, Capacity, ContainerName, ContainerSpec, CpuMillis, Left, PlacementRules, Restart,
    Role, VolumeId, VolumeName, VolumeSource, VolumeSpec,
};

use super::*;
use crate::{
    Answer, ClusterView, PlacementQuestion, PolicyAnswer, ProposedMove, RebalanceQuestion,
};

/// Reads a world: `node NAME [dead] [draining]`, `app NAME NODE|- [pinned] [moving:NODE] [memory:GiB] [volume:NODE]`,
/// `has NODE APP` for an app that a node keeps, `heard NODE` when what it said is newer than the records,
/// `copy NODE VOLUME` for a writable copy, `left NODE APP EPOCH` and `left NODE VOLUME` for what is to be removed.
fn world(text: &str) -> World {
    let mut world = World { now: Timestamp(1_000_000), revision: Revision(7), ..World::default() };
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["node", name, ref marks @ ..] => add_node(&mut world, name, marks),
            ["app", name, at, ref marks @ ..] => add_app(&mut world, name, at, marks),
            ["has", node, app] => {
                let held = AppSeen { name: app.parse().unwrap(), epoch: Epoch(1), kept: true };
                seen(&mut world, node).apps.get_or_insert_default().push(held);
            }
            ["heard", node] => seen(&mut world, node).asked = Revision(7),
            ["copy", node, volume] => {
                let copy = VolumeState {
                    id: volume.parse().unwrap(),
                    role: Role::Live,
                    epoch: Epoch(1),
                    size: ByteSize::gib(1),
                    used: ByteSize(0),
                };
                seen(&mut world, node).volumes.get_or_insert_default().push(copy);
            }
            ["left", node, app, epoch] => {
                let epoch = Epoch(epoch.parse().unwrap());
                let what = Left::App { name: app.parse().unwrap(), epoch };
                world.leftovers.push(Leftover { node: node.parse().unwrap(), what });
            }
            ["left", node, volume] => {
                let (id, name) = (volume.parse().unwrap(), volume.parse().unwrap());
                let what = Left::Volume { id, name, epoch: Epoch(1) };
                world.leftovers.push(Leftover { node: node.parse().unwrap(), what });
            }
            _ => panic!("`{line}` is not a line of a world"),
        }
    }
    world
}

fn seen<'a>(world: &'a mut World, node: &str) -> &'a mut NodeSeen {
    world.nodes.get_mut(&node.parse::<NodeName>().unwrap()).unwrap()
}

fn add_node(world: &mut World, name: &str, marks: &[&str]) {
    let address = "127.0.0.1:1".parse().unwrap();
    let node = Node {
        name: name.parse().unwrap(),
        api: address,
        mesh: address,
        replication: address,
        labels: BTreeMap::new(),
        configured: BTreeSet::new(),
        draining: marks.contains(&"draining"),
        identity: name.to_owned(),
        stream_key: None,
    };
    let room = Capacity { total: ByteSize::gib(8), free: ByteSize::gib(8) };
    let stats =
        NodeStats { memory: room, cpu: CpuMillis(4000), pool: room, ..NodeStats::default() };
    let seen = NodeSeen {
        node,
        alive: !marks.contains(&"dead"),
        asked: Revision(0),
        stats,
        volumes: Some(vec![]),
        written: BTreeMap::new(),
        apps: Some(vec![]),
    };
    world.nodes.insert(name.parse().unwrap(), seen);
}

fn add_app(world: &mut World, name: &str, at: &str, marks: &[&str]) {
    let app_name: AppName = name.parse().unwrap();
    let mark = |key: &str| marks.iter().find_map(|m| m.strip_prefix(key));
    let memory = mark("memory:").map(|gib| ByteSize::gib(gib.parse().unwrap()));
    let mut app = App {
        name: app_name.clone(),
        containers: vec![container(memory)],
        volumes: vec![],
        services: vec![],
        placement: PlacementRules {
            pinned: marks.contains(&"pinned"),
            ..PlacementRules::default()
        },
    };
    if let Some(owner) = mark("volume:") {
        let volume: VolumeName = format!("{name}.data").parse().unwrap();
        let (source, size) = (VolumeSource::Own(volume.clone()), ByteSize::gib(1));
        app.volumes.push(VolumeSpec {
            key: "data".into(),
            source,
            options: size.into(),
            owner: None,
        });
        world.volumes.push(Volume {
            id: VolumeId::new(format!("v-{name}")).unwrap(),
            name: volume,
            app: Some(app_name.clone()),
            owner: Some(owner.parse().unwrap()),
            epoch: Epoch(1),
            options: size.into(),
            ownership: None,
            replicas: vec![],
            replication: None,
        });
    }
    let owner: Option<NodeName> = (at != "-").then(|| at.parse().unwrap());
    let operation = mark("moving:").map(|target| {
        let id = OperationId::new(format!("op-{name}")).unwrap();
        let kind = OperationKind::Move {
            source: owner.clone().unwrap(),
            target: target.parse().unwrap(),
            epoch: Epoch(1),
        };
        world.operations.insert(id.clone(), moving(&id, &app_name, kind));
        id
    });
    let record = AppRecord {
        name: app_name.clone(),
        manifest: String::new(),
        owner,
        epoch: Epoch(1),
        state: AppState::Deployed,
        operation,
        placed: Timestamp(0),
    };
    world.changed.insert(app_name.clone(), Revision(7));
    world.apps.insert(app_name, (record, app));
}

fn container(memory: Option<ByteSize>) -> ContainerSpec {
    ContainerSpec {
        name: ContainerName::new("c").unwrap(),
        image: "i".into(),
        entrypoint: None,
        command: None,
        environment: BTreeMap::new(),
        user: None,
        working_dir: None,
        mounts: vec![],
        depends_on: vec![],
        healthcheck: None,
        restart: Restart::No,
        stop_grace_period: Duration::ZERO,
        memory,
        cpu: None,
        labels: BTreeMap::new(),
        links: vec![],
    }
}

fn moving(id: &OperationId, app: &AppName, kind: OperationKind) -> Operation {
    Operation {
        id: id.clone(),
        app: app.clone(),
        kind,
        purpose: Purpose::Operator,
        state: OperationState::Running,
        phase: Phase::Seed,
        undoing: None,
        trouble: None,
        started: Timestamp(0),
        finished: None,
        parked: None,
        report: MoveReport::default(),
    }
}

/// The only function here that knows the planner's signature.
fn planned(world: &World) -> Plan {
    let mut n = 0;
    let mut draw = || {
        n += 1;
        (OperationId::new(format!("new-{n}")).unwrap(), n)
    };
    plan(world, &Settings::default(), true, &BuiltIn, &mut draw)
}

#[track_caller]
fn check(text: &str, want: Expect) {
    let mut said = String::new();
    let plan = planned(&world(text));
    for action in &plan.actions {
        match action {
            Action::Begin { app, kind, purpose, .. } => {
                let (from, to) = match kind {
                    OperationKind::Deploy { target, .. } => ("deploy".to_owned(), target),
                    OperationKind::Move { source, target, .. } => {
                        (format!("move from {source}"), target)
                    }
                    OperationKind::Update { node, .. } => ("update".to_owned(), node),
                    OperationKind::Remove { .. } => panic!("nobody asked for that"),
                };
                writeln!(said, "{from} to {to}: {app} ({purpose})").unwrap();
            }
            Action::Retire { node, app, .. } => writeln!(said, "retire on {node}: {app}").unwrap(),
            Action::Discard { node, app, .. } => {
                writeln!(said, "discard on {node}: {app}").unwrap()
            }
            Action::Start { node, app } => writeln!(said, "start on {node}: {app}").unwrap(),
            Action::Clear { leftover } => {
                writeln!(said, "clear {}: {}", leftover.node, leftover.what).unwrap();
            }
            Action::Forget { leftover } => {
                writeln!(said, "forget {}: {}", leftover.node, leftover.what).unwrap();
            }
        }
    }
    for note in &plan.notes {
        writeln!(said, "note {}: {}", note.app, note.text.lines().next().unwrap_or_default())
            .unwrap();
    }
    want.assert_eq(&said);
}

#[test]
fn a_new_app_goes_to_the_emptiest_node() {
    check(
        "node n1
         node n2
         app old n1
         app new -",
        expect![[r"
            deploy to n2: new (create)
        "]],
    );
}

#[test]
fn nothing_is_planned_twice_while_an_operation_holds_the_app() {
    check(
        "node n1 draining
         node n2
         app shop n1 moving:n2",
        expect![""],
    );
}

#[test]
fn a_draining_node_is_emptied_two_apps_at_a_time() {
    check(
        "node n1 draining
         node n2
         node n3
         app a n1
         app b n1
         app c n1",
        expect![[r"
            move from n1 to n2: a (drain)
            move from n1 to n3: b (drain)
        "]],
    );
}

#[test]
fn an_app_on_a_dead_node_waits_for_it() {
    check(
        "node n1 dead
         node n2
         app shop n1",
        expect![""],
    );
}

#[test]
fn a_crowded_app_is_moved_once_and_a_pinned_one_never() {
    check(
        "node n1
         node n2
         app hog n1 pinned memory:4
         app shop n1 memory:1",
        expect![[r"
            move from n1 to n2: shop (rebalance)
        "]],
    );
}

#[test]
fn an_app_that_adopts_a_volume_starts_where_the_volume_is() {
    check(
        "node n1
         node n2
         app busy n1
         app back - volume:n1",
        expect![[r"
            deploy to n1: back (create)
        "]],
    );
}

#[test]
fn an_app_that_fits_nowhere_says_why() {
    let plan = planned(&world(
        "node n1
         app big - memory:100",
    ));
    assert_eq!(plan.actions, []);
    assert!(plan.notes[0].text.contains("memory"), "{:?}", plan.notes);
}

#[test]
fn containers_of_an_app_that_is_elsewhere_are_removed_once_nobody_works_on_it() {
    check(
        "node n1
         node n2
         app shop n2
         has n1 shop
         has n2 shop",
        expect![[r"
            discard on n1: shop
        "]],
    );
    check(
        "node n1
         node n2
         app shop n2 moving:n1
         has n1 shop",
        expect![""],
    );
}

#[test]
fn what_a_node_does_not_say_is_unknown_and_nothing_is_removed_there() {
    let mut world = world(
        "node n1
         node n2
         app shop n2",
    );
    world.nodes.get_mut(&"n1".parse::<NodeName>().unwrap()).unwrap().apps = None;
    assert_eq!(planned(&world).actions, []);
}

#[test]
fn containers_of_an_app_that_nobody_knows_are_left_alone() {
    check(
        "node n1
         has n1 stranger",
        expect![""],
    );
}

#[test]
fn an_app_whose_move_was_just_undone_is_left_alone_for_a_while_and_says_why() {
    let mut world = world("node a draining\n node b\n app x a");
    let at = Timestamp(world.now.0 - 30_000);
    world.setbacks.insert("x".parse().unwrap(), (at, "image `i` is not there".into()));

    let plan = planned(&world);

    assert_eq!(plan.actions, []);
    assert!(plan.notes[0].text.contains("image `i` is not there"), "{:?}", plan.notes);
    world.now = world.now + Duration::from_secs(31);
    assert_eq!(planned(&world).actions.len(), 1);
}

#[test]
fn moves_that_wait_for_a_dead_node_do_not_keep_a_draining_one_from_being_emptied() {
    let apps = "app s1 c moving:b\n app s2 c moving:b\n app x a";
    let mut world = world(&format!("node a draining\n node b\n node c dead\n {apps}"));
    assert_eq!(planned(&world).actions, []);

    for operation in world.operations.values_mut() {
        operation.state = OperationState::Waiting { reason: "node `c` does not answer".into() };
    }

    assert_eq!(planned(&world).actions.len(), 1);
}

#[test]
fn an_app_that_its_node_does_not_know_is_started_where_all_of_its_data_is() {
    let lost = "node n1
         heard n1
         app shop n1 volume:n1";
    check(
        &format!("{lost}\n copy n1 v-shop"),
        expect![[r"
            start on n1: shop
        "]],
    );
    check(
        lost,
        expect![[r"
            note shop: node `n1` knows nothing of it, and has no writable copy of volume `shop.data`
        "]],
    );
    check(&format!("{lost}\n copy n1 v-shop\n has n1 shop"), expect![""]);
}

#[test]
fn what_a_node_said_before_the_records_changed_does_not_start_an_app() {
    check(
        "node n1
         app shop n1
         node n2 dead
         heard n2
         app other n2",
        expect![""],
    );
}

#[test]
fn what_was_left_on_a_node_goes_when_it_is_back_containers_first() {
    let left = "left n1 old 3
         left n1 v-old";
    check(&format!("node n1 dead\n{left}"), expect![""]);
    check(
        &format!("node n1\n{left}"),
        expect![[r"
            clear n1: containers of app `old`
        "]],
    );
    check(
        "node n1
         left n1 v-old",
        expect![[r"
            clear n1: volume `v-old`
        "]],
    );
}

#[test]
fn what_a_record_names_is_no_leftover() {
    check(
        "node n1
         node n2 dead
         app shop n2 volume:n2
         left n1 v-shop
         left n1 shop 1",
        expect![""],
    );
    // An app of that name that was deployed since is another one.
    check(
        "node n1
         node n2 dead
         app shop n2
         left n1 shop 0",
        expect![[r"
            clear n1: containers of app `shop`
        "]],
    );
    // An app whose manifest cannot be read is known nevertheless.
    let mut world = world("node n1\n left n1 shop 3");
    world.changed.insert("shop".parse().unwrap(), Revision(5));
    assert_eq!(planned(&world).actions, []);
}

#[test]
fn what_was_left_on_a_node_that_was_removed_is_forgotten() {
    check(
        "left n9 v-old",
        expect![[r"
            forget n9: volume `v-old`
        "]],
    );
}

#[test]
fn a_deployment_is_not_tried_twice_on_one_node() {
    let world = world("node n1\n node n2\n app shop -");
    let (record, app) = &world.apps[&"shop".parse().unwrap()];
    let tried = ["n1".parse().unwrap()];
    let id = OperationId::new("o").unwrap();

    let decision = again(&world, record, app, &tried, &BuiltIn, id.clone(), 1);
    let none =
        again(&world, record, app, &[tried[0].clone(), "n2".parse().unwrap()], &BuiltIn, id, 1);

    assert_eq!(decision.chosen, Some("n2".parse().unwrap()));
    assert_eq!(none.chosen, None);
}

/// Proposes these moves, each worth more than the one after it; places as the built-in policy does, but nothing on `n3`.
#[derive(Debug)]
struct Balancer(Vec<(u32, u32)>);

impl Policies for Balancer {
    fn place(
        &self,
        view: &Arc<ClusterView>,
        question: &PlacementQuestion,
    ) -> Vec<PolicyAnswer<Answer>> {
        let mut answers = BuiltIn.place(view, question);
        for answer in answers.iter_mut().filter_map(|a| a.answer.as_mut().ok()) {
            for (row, score) in question.candidates.iter().zip(&mut answer.scores) {
                *score = if *row == 2 { -1 } else { *score };
            }
        }
        answers
    }

    fn rebalance(
        &self,
        _: &Arc<ClusterView>,
        _: &RebalanceQuestion,
    ) -> Vec<PolicyAnswer<Vec<ProposedMove>>> {
        let proposed = |(gain, (app, target)): (u32, &(u32, u32))| ProposedMove {
            app: *app,
            target: *target,
            gain: gain.into(),
            reason: "it is level there".into(),
        };
        vec![PolicyAnswer::built_in((0..).zip(self.0.iter().rev()).map(proposed).collect())]
    }
}

/// What is begun when these moves are proposed for three apps on `n1`, where the third is pinned, and why.
fn balanced(moves: &[(u32, u32)]) -> Vec<String> {
    let world =
        world("node n1\n node n2\n node n3\n app a n1 memory:1\n app b n1\n app c n1 pinned");
    let mut n = 0;
    let mut draw = || {
        n += 1;
        (OperationId::new(format!("op-{n}")).unwrap(), n)
    };
    let policies = Balancer(moves.to_vec());
    let plan = plan(&world, &Settings::default(), true, &policies, &mut draw);
    let begun = |action: &Action| {
        let Action::Begin { kind: OperationKind::Move { target, .. }, decision, .. } = action
        else {
            return format!("{action:?}");
        };
        format!("{} to {target}, by {:?}", decision.app, decision.decided_by)
    };
    plan.actions.iter().map(begun).collect()
}

#[test]
fn the_proposal_that_is_worth_most_is_followed_alone() {
    assert_eq!(balanced(&[(1, 1), (0, 1)]), ["b to n2, by Rebalance"]);
}

#[test]
fn a_proposal_that_a_placement_policy_refuses_is_passed_over() {
    assert_eq!(balanced(&[(1, 2), (0, 1)]), ["a to n2, by Rebalance"]);
    assert_eq!(balanced(&[(1, 2)]), [] as [&str; 0]);
}

#[test]
fn a_policy_for_the_whole_that_proposes_nothing_moves_nothing() {
    assert_eq!(balanced(&[]), [] as [&str; 0]);
    // To where it is.
    assert_eq!(balanced(&[(1, 0)]), [] as [&str; 0]);
}

#[test]
fn a_proposal_about_what_may_not_move_leaves_it_to_placement() {
    // The third app is pinned, so the answer makes no sense, and each app is asked about by itself.
    assert_eq!(balanced(&[(2, 1)]), ["a to n2, by Policies"]);
}
