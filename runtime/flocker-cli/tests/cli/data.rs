//! A made-up cluster: three nodes, two apps, and operations that end in every way.

use std::{collections::BTreeMap, time::Duration};

use flocker_api::v1;
use flocker_model::{
    ByteSize, Epoch, MoveReport, Operation, OperationKind, OperationState, Phase, PhaseReport,
    Purpose, Round, Timestamp, Transfer,
};

/// 2026-11-22 09:35:11 UTC.
const NOW: u64 = 1_795_340_111_000;

pub(crate) fn node(name: &str) -> v1::Node {
    v1::Node {
        name: name.to_owned(),
        api: format!("10.0.0.{}:4521", &name[1..]),
        mesh: format!("10.0.0.{}:4522", &name[1..]),
        replication: format!("10.0.0.{}:4523", &name[1..]),
        labels: BTreeMap::from([("disk".to_owned(), "nvme".to_owned())]),
        draining: false,
        identity: String::new(),
        configured: vec!["disk".to_owned()],
        stream_key: Some(format!("{:064}", &name[1..])),
    }
}

pub(crate) fn nodes() -> Vec<v1::NodeView> {
    let stats = v1::NodeStats {
        memory: Some(v1::Capacity { total: 8 << 30, free: 5 << 30 }),
        cpu_millis: 4000,
        pool: Some(v1::Capacity { total: 100 << 30, free: 60 << 30 }),
        streams: "btrfs".to_owned(),
        load_millis: 1250,
        at_ms: NOW,
    };
    let view = |name| v1::NodeView {
        node: Some(node(name)),
        alive: true,
        stats: Some(stats.clone()),
        apps: 1,
        volumes: 1,
        troubles: Vec::new(),
        leader: false,
        memory_promised: 2 << 30,
    };
    let mut n3 = v1::NodeView { alive: false, stats: None, apps: 0, volumes: 0, ..view("n3") };
    n3.troubles.push("it does not answer since 09:30".to_owned());
    vec![v1::NodeView { leader: true, ..view("n1") }, view("n2"), n3]
}

fn container(name: &str, image: &str, state: v1::container_state::State) -> v1::ContainerView {
    let observed = v1::ObservedContainer {
        name: name.to_owned(),
        state: Some(v1::ContainerState { state: Some(state) }),
        healthy: Some(true),
        restarts: 2,
        restart_at_ms: None,
    };
    v1::ContainerView { observed: Some(observed), name: name.to_owned(), image: image.to_owned() }
}

pub(crate) fn apps() -> Vec<v1::AppView> {
    use v1::container_state::{Exited, Running, State};
    let record = v1::AppRecord {
        name: "shop".to_owned(),
        manifest: "services: {}\n".to_owned(),
        owner: Some("n1".to_owned()),
        epoch: 4,
        state: v1::AppState::Deployed.into(),
        operation: Some("o-endless".to_owned()),
        placed_ms: NOW - 3_600_000,
    };
    let shop = v1::AppView {
        app: Some(record.clone()),
        containers: vec![
            container("db", "redis:7.2", State::Running(Running { since_ms: NOW - 60_000 })),
            container(
                "web",
                "shop:1",
                State::Exited(Exited { status: 137, at_ms: NOW, out_of_memory: true }),
            ),
        ],
        services: vec![v1::ServiceView {
            name: "web".to_owned(),
            container: "web".to_owned(),
            host_ip: None,
            port: 8080,
            container_port: 80,
        }],
        volumes: vec!["shop.data".to_owned()],
        trouble: None,
    };
    let waiting =
        v1::AppRecord { name: "blog".to_owned(), owner: None, epoch: 1, operation: None, ..record };
    let blog = v1::AppView {
        app: Some(waiting),
        containers: vec![v1::ContainerView {
            observed: None,
            name: "web".to_owned(),
            image: "blog:1".to_owned(),
        }],
        trouble: Some("no node has 64.0 GiB of memory".to_owned()),
        ..Default::default()
    };
    vec![shop, blog]
}

/// One of each kind.
pub(crate) fn replicas() -> v1::ListReplicasReply {
    let volume = v1::Volume {
        replication: Some(v1::Replication {
            named: vec!["n2".to_owned()],
            copies: 1,
            chosen: vec!["n3".to_owned()],
            every_ms: 10_000,
            rates: "20971520,22:00-06:00=52428800".to_owned(),
        }),
        ..volumes().remove(0).volume.unwrap()
    };
    let at = |tag: &str| Some(v1::Point { tag: tag.to_owned(), guid: format!("guid-{tag}") });
    let seen = |node: &str| v1::ReplicaSeen {
        volume: "v-1".to_owned(),
        node: node.to_owned(),
        at: at("repl-7"),
        behind_ms: Some(8_200),
        lacks: Some(3 << 20),
        n_snapshots: 12,
        bytes: 40 << 20,
        last_ms: Some(350),
        ..Default::default()
    };
    let diverged = v1::ReplicaSeen {
        behind_ms: Some(7_200_000),
        sending: None,
        trouble: Some("the replica has diverged".to_owned()),
        ..seen("n3")
    };
    let view = |node: &str, reason: &str, seen: Option<v1::ReplicaSeen>| v1::ReplicaView {
        volume: Some(volume.clone()),
        node: node.to_owned(),
        reason: reason.to_owned(),
        at: at("repl-7"),
        taken_ms: Some(NOW - 60_000),
        seen,
    };
    let replicas = vec![
        view("n2", "named", Some(seen("n2"))),
        view("n3", "chosen", Some(diverged)),
        view("n4", "left", None),
    ];
    v1::ListReplicasReply { replicas, now_ms: NOW }
}

pub(crate) fn volumes() -> Vec<v1::VolumeView> {
    let data = v1::Volume {
        id: "v-1".to_owned(),
        name: "shop.data".to_owned(),
        app: Some("shop".to_owned()),
        owner: Some("n1".to_owned()),
        epoch: 4,
        options: size(10 << 30),
        ownership: Some(v1::Ownership { user: 999, group: 999 }),
        replicas: vec![v1::Replica {
            node: "n2".to_owned(),
            tag: "move-o1-2".to_owned(),
            guid: "g2".to_owned(),
            taken_ms: Some(NOW - 60_000),
        }],
        replication: None,
    };
    let photos = v1::Volume {
        id: "v-2".to_owned(),
        name: "photos".to_owned(),
        epoch: 1,
        options: size(1 << 30),
        ..Default::default()
    };
    vec![
        v1::VolumeView { volume: Some(data), used: Some(3 << 30), trouble: None },
        v1::VolumeView {
            volume: Some(photos),
            used: None,
            trouble: Some("it has 500 snapshots".to_owned()),
        },
    ]
}

pub(crate) fn volume_detail() -> v1::InspectVolumeReply {
    let state = |role: v1::Role| v1::VolumeState {
        id: "v-1".to_owned(),
        role: role.into(),
        epoch: 4,
        size: 10 << 30,
        used: 3 << 30,
    };
    v1::InspectVolumeReply {
        volume: volumes().remove(0).volume,
        copies: vec![
            v1::VolumeCopy {
                node: "n1".to_owned(),
                state: Some(state(v1::Role::Live)),
                newest: Some(snapshot("before-upgrade")),
            },
            v1::VolumeCopy {
                node: "n2".to_owned(),
                state: Some(state(v1::Role::Replica)),
                newest: None,
            },
        ],
    }
}

pub(crate) fn snapshot(tag: &str) -> v1::Snapshot {
    let point = v1::Point { tag: tag.to_owned(), guid: format!("guid-{tag}") };
    v1::Snapshot { point: Some(point), taken_ms: NOW, referenced: 1 << 20 }
}

pub(crate) fn chunk(container: &str, stderr: bool, text: &str) -> v1::LogChunk {
    v1::LogChunk { container: container.to_owned(), stderr, bytes: text.as_bytes().to_vec().into() }
}

pub(crate) fn logs(container: Option<&str>) -> Vec<v1::LogChunk> {
    let mut chunks = vec![
        chunk("web", false, "GET "),
        chunk("db", true, "warning\n"),
        chunk("web", false, "/\n"),
        chunk("db", false, "ok"),
    ];
    chunks.retain(|chunk| container.is_none_or(|container| chunk.container == container));
    chunks
}

pub(crate) fn plugins() -> Vec<v1::Plugin> {
    let plugin = v1::Plugin {
        name: "spread".to_owned(),
        version: "0.1.0".to_owned(),
        digest: "0123456789abcdef0123".to_owned(),
        hooks: vec!["placement".to_owned()],
        weight: 100,
        state: "quarantined".to_owned(),
        trouble: Some("trapped three times in a row".to_owned()),
        n_calls: 12,
        n_failures: 3,
        n_disagreements: 2,
        next: Some(v1::NextBuild {
            version: "0.2.0".to_owned(),
            digest: "sha256:fedcba98765432100123".to_owned(),
            n_decisions: 3,
            n_wanted: 20,
            until_ms: NOW + 60_000,
            n_disagreements: 1,
            trouble: None,
        }),
        limits: "fuel=4G, wall=5s".to_owned(),
        node: "n1".to_owned(),
    };
    let binpack = v1::Plugin {
        name: "binpack".to_owned(),
        state: "active".to_owned(),
        trouble: None,
        next: plugin.next.clone().map(|next| v1::NextBuild {
            trouble: Some("trap: unreachable in `evaluate`".to_owned()),
            ..next
        }),
        ..plugin.clone()
    };
    let built_in = v1::Plugin {
        name: "built-in".to_owned(),
        digest: String::new(),
        state: "active".to_owned(),
        trouble: None,
        n_failures: 0,
        n_disagreements: 0,
        next: None,
        limits: String::new(),
        ..plugin.clone()
    };
    vec![plugin, binpack, built_in]
}

fn ran(phase: Phase, ms: u64, undo: bool) -> PhaseReport {
    PhaseReport { phase, took: Duration::from_millis(ms), undo, trouble: None }
}

fn moved(id: &str) -> Operation {
    let node = |name: &str| name.parse().unwrap();
    let round = |tag: &str, bytes, ms| Round {
        tag: tag.parse().unwrap(),
        transfer: Transfer {
            bytes: ByteSize(bytes),
            resumed: ByteSize(0),
            took: Duration::from_millis(ms),
        },
    };
    let report = MoveReport {
        phases: vec![
            ran(Phase::Seed, 65_000, false),
            ran(Phase::Park, 20, false),
            ran(Phase::Delta, 300, false),
            ran(Phase::Start, 410, false),
        ],
        rounds: vec![round("move-o1-1", 3 << 30, 65_000), round("move-o1-2", 12_345, 290)],
        blackout: Some(Duration::from_millis(845)),
    };
    Operation {
        id: id.parse().unwrap(),
        app: "shop".parse().unwrap(),
        kind: OperationKind::Move { source: node("n1"), target: node("n2"), epoch: Epoch(5) },
        purpose: Purpose::Operator,
        state: OperationState::Done,
        phase: Phase::Reverse,
        undoing: None,
        trouble: None,
        started: Timestamp(NOW),
        finished: Some(Timestamp(NOW + 66_500)),
        parked: Some(Timestamp(NOW + 65_000)),
        report,
    }
}

/// The operation of this id, as it is in the end.
fn ended(id: &str) -> Operation {
    let moved = moved(id);
    let node = |name: &str| name.parse().unwrap();
    let small = MoveReport { phases: vec![ran(Phase::Start, 900, false)], ..Default::default() };
    match id {
        "o-deploy" => {
            let kind = OperationKind::Deploy { target: node("n2"), tried: vec![] };
            Operation { kind, report: small, ..moved }
        }
        "o-remove" => Operation {
            kind: OperationKind::Remove { node: Some(node("n1")), volumes: true },
            report: MoveReport::default(),
            ..moved
        },
        "o-failed" => Operation {
            state: OperationState::Failed {
                reason: "the pool of n2 is full\nhint: free space on it".to_owned(),
            },
            phase: Phase::Seed,
            report: MoveReport { phases: vec![ran(Phase::Seed, 900, true)], ..Default::default() },
            ..moved
        },
        "o-abort" => Operation {
            state: OperationState::Aborted { reason: "an operator asked for it".to_owned() },
            undoing: Some("an operator asked for it".to_owned()),
            report: MoveReport { phases: vec![ran(Phase::Seed, 900, true)], ..Default::default() },
            ..moved
        },
        "o-endless" => Operation {
            state: OperationState::Waiting { reason: "n2 does not answer".to_owned() },
            phase: Phase::Seed,
            finished: None,
            report: MoveReport::default(),
            ..moved
        },
        "o-drain" => Operation { purpose: Purpose::Drain, ..moved },
        _ => moved,
    }
}

pub(crate) fn operation(id: &str) -> v1::Operation {
    (&ended(id)).into()
}

/// The operation as a watcher sees it.
pub(crate) fn updates(id: &str) -> Vec<v1::OperationUpdate> {
    let end = ended(id);
    let update = |operation: &Operation, sending| v1::OperationUpdate {
        operation: Some(operation.into()),
        sending,
        now_ms: NOW + 1000,
    };
    if !end.state.is_final() {
        return vec![update(&end, None)];
    }
    let running = |phase| Operation {
        state: OperationState::Running,
        phase,
        report: MoveReport::default(),
        finished: None,
        ..end.clone()
    };
    vec![
        update(&running(Phase::Seed), None),
        update(&running(Phase::Seed), Some(1 << 20)),
        update(&running(Phase::Delta), None),
        update(&end, None),
    ]
}

/// The cluster while n1 is being drained: at the third look it is empty.
pub(crate) fn status(look: u32) -> v1::StatusReply {
    let mut nodes = nodes();
    let mut operations = vec![operation("o-endless")];
    if look > 0 {
        let running = Operation {
            state: OperationState::Running,
            phase: Phase::Seed,
            finished: None,
            ..ended("o-drain")
        };
        operations = vec![(&running).into()];
    }
    if look > 1 {
        operations.clear();
        nodes[0].apps = 0;
    }
    if let Some(n1) = nodes[0].node.as_mut() {
        n1.draining = true;
    }
    let mut apps = apps();
    if look > 1
        && let Some(shop) = apps[0].app.as_mut()
    {
        shop.owner = Some("n2".to_owned());
    }
    v1::StatusReply {
        version: "0.1.0".to_owned(),
        node: "n1".to_owned(),
        nodes,
        apps,
        operations,
        troubles: vec!["the store has no second copy".to_owned()],
        now_ms: NOW,
    }
}

fn size(size: u64) -> Option<v1::VolumeOptions> {
    Some(v1::VolumeOptions { size, ..Default::default() })
}
