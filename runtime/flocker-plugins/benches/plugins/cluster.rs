//! A cluster of any size, in which every tenth volume belongs to an app.

use std::collections::BTreeMap;

use flocker_model::{
    AppName, ByteSize, Capacity, CpuMillis, NodeName, OperationId, Purpose, Revision, Timestamp,
    VolumeName,
};
use flocker_planner::{ClusterView, NodeRow, PlacementQuestion, VolumeRow};

/// So many nodes with ten volumes each, and the question where a new app should be.
pub(crate) fn of(nodes: u32) -> (ClusterView, PlacementQuestion) {
    let gib = |n: u32| ByteSize::gib(n.into());
    let node = |n: u32| NodeRow {
        memory: Capacity { total: gib(64), free: gib(64 - n % 60) },
        cpu: CpuMillis(16_000),
        cpu_promised: CpuMillis(n % 16_000),
        memory_promised: gib(n % 60),
        pool: Capacity { total: gib(1000), free: gib(1000 - n % 900) },
        load_millis: n % 4000,
        apps: n % 20,
        volumes: 10,
        labels: BTreeMap::from([("zone".to_owned(), format!("zone-{}", n % 7))]),
        ..NodeRow::new(NodeName::new(format!("node-{n:05}")).unwrap())
    };
    let volume = |n: u32| VolumeRow {
        name: VolumeName::new(format!("volume-{n:06}")).unwrap(),
        app: None,
        node: Some(n / 10),
        size: gib(10),
        used: gib(n % 10),
        written: Some(Timestamp(n.into())),
        snapshot: None,
    };
    let view = ClusterView {
        generation: Revision(1),
        now: Timestamp(1_000_000),
        nodes: (0..nodes).map(node).collect(),
        volumes: (0..nodes * 10).map(volume).collect(),
        ..ClusterView::default()
    };
    let question = PlacementQuestion {
        decision: OperationId::new("op-1").unwrap(),
        seed: 42,
        what: flocker_planner::Placed::App,
        purpose: Purpose::Create,
        name: AppName::new("shop").unwrap(),
        app: None,
        volumes: vec![],
        current: None,
        size: gib(1),
        memory: gib(1),
        cpu: CpuMillis(500),
        holders: vec![],
        labels: BTreeMap::new(),
        candidates: (0..nodes).collect(),
    };
    (view, question)
}
