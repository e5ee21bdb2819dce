//! A made-up cluster of any size, with ten volumes per node, and questions about it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use flocker_api::{Code, Failure};
use flocker_model::{
    AppName, ByteSize, Capacity, CpuMillis, Epoch, NodeName, OperationId, Purpose, Revision,
    Timestamp, VolumeName,
};
use flocker_planner::{
    AppRow, ClusterView, Copied, Incident, NodeRow, PlacementQuestion, PruneQuestion,
    RebalanceQuestion, ReplicaRow, ScheduleQuestion, VolumeRow, backups,
};

/// Volumes of a node, each of an app of its own, each with a copy on the next node.
const VOLUMES_PER_NODE: u32 = 10;
/// Copies that a volume has when it is asked which may go.
const COPIES: u64 = 100;
/// 2026-01-01.
const NOW: Timestamp = Timestamp(1_767_225_600_000);
const HOUR: Duration = Duration::from_hours(1);

pub(super) struct Crowd {
    view: ClusterView,
    decision: OperationId,
    app: AppName,
}

impl Crowd {
    pub(super) fn new(n_nodes: u32) -> Result<Self, Failure> {
        let mut view = ClusterView { generation: Revision(1), now: NOW, ..ClusterView::default() };
        for row in 0..n_nodes {
            view.nodes.push(node(row)?);
        }
        for row in 0..n_nodes * VOLUMES_PER_NODE {
            let node = row / VOLUMES_PER_NODE;
            view.apps.push(app(row, node)?);
            view.volumes.push(volume(row, node)?);
            let copy = (node + 1) % n_nodes;
            view.replicas.push(ReplicaRow { volume: row, node: copy, taken: Some(ago(row)) });
        }
        Ok(Self {
            view,
            decision: OperationId::new("bench").map_err(invalid)?,
            app: AppName::new("newcomer").map_err(invalid)?,
        })
    }

    /// The cluster so many minutes, and as many generations, later.
    pub(super) fn view_after(&self, minutes: u64) -> Arc<ClusterView> {
        let now = self.view.now + Duration::from_secs(60 * minutes);
        let generation = Revision(self.view.generation.0 + minutes);
        Arc::new(ClusterView { now, generation, ..self.view.clone() })
    }

    pub(super) fn placement(&self) -> PlacementQuestion {
        PlacementQuestion {
            decision: self.decision.clone(),
            seed: 1,
            what: flocker_planner::Placed::App,
            purpose: Purpose::Create,
            name: self.app.clone(),
            app: None,
            volumes: vec![],
            current: None,
            size: ByteSize::gib(1),
            memory: ByteSize::gib(1),
            cpu: CpuMillis(500),
            holders: vec![],
            labels: label("tier", "web"),
            candidates: rows(&self.view.nodes),
        }
    }

    pub(super) fn rebalance(&self) -> RebalanceQuestion {
        let movable = rows(&self.view.apps);
        RebalanceQuestion { decision: self.decision.clone(), seed: 1, movable, moves_max: 10 }
    }

    pub(super) fn incident(&self) -> Incident {
        Incident {
            decision: self.decision.clone(),
            seed: 1,
            node: 0,
            silent: Duration::from_secs(60),
            fenced: true,
            votes: 2,
            quorum: 2,
            volumes: (0..VOLUMES_PER_NODE).collect(),
        }
    }

    pub(super) fn schedule(&self) -> ScheduleQuestion {
        let volumes = rows(&self.view.volumes);
        ScheduleQuestion { decision: self.decision.clone(), seed: 1, volumes, horizon: HOUR }
    }

    pub(super) fn prune(&self) -> PruneQuestion {
        let copy = |n: u64| Copied {
            tag: format!("hourly-{n}"),
            taken: Timestamp(NOW.0 - (COPIES - n) * 3_600_000),
            label: "hourly".to_owned(),
            bytes: 1 << 30,
        };
        PruneQuestion {
            decision: self.decision.clone(),
            seed: 1,
            volume: 0,
            lane: backups::SNAPSHOT.to_owned(),
            copies: (0..COPIES).map(copy).collect(),
        }
    }
}

fn rows<R>(table: &[R]) -> Vec<u32> {
    (0..).zip(table).map(|(row, _)| row).collect()
}

fn invalid(error: impl ToString) -> Failure {
    Failure::new(Code::INTERNAL, error.to_string())
}

fn label(key: &str, value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(key.to_owned(), value.to_owned())])
}

/// A moment within the last hour, another for each row.
fn ago(row: u32) -> Timestamp {
    Timestamp(NOW.0 - u64::from(row % 60) * 60_000)
}

// Numbers have leading zeros, as rows are in the order of names.

fn node(row: u32) -> Result<NodeRow, Failure> {
    let promised = ByteSize::gib(u64::from(row % 14));
    Ok(NodeRow {
        name: NodeName::new(format!("node-{row:06}")).map_err(invalid)?,
        alive: true,
        draining: false,
        memory: Capacity {
            total: ByteSize::gib(16),
            free: ByteSize(ByteSize::gib(16).0 - promised.0),
        },
        cpu: CpuMillis(8000),
        cpu_promised: CpuMillis(500 * (row % 9)),
        memory_promised: promised,
        pool: Capacity {
            total: ByteSize::gib(500),
            free: ByteSize::gib(100 + u64::from(row % 300)),
        },
        streams: String::new(),
        load_millis: 100 * (row % 40),
        apps: VOLUMES_PER_NODE,
        volumes: VOLUMES_PER_NODE,
        labels: label("zone", ["eu", "us", "asia"][row as usize % 3]),
    })
}

fn app(row: u32, node: u32) -> Result<AppRow, Failure> {
    Ok(AppRow {
        name: AppName::new(format!("app-{row:06}")).map_err(invalid)?,
        node: Some(node),
        epoch: Epoch(1),
        memory: ByteSize::mib(64 + u64::from(row % 512)),
        cpu: CpuMillis(50),
        size: ByteSize::gib(1),
        placed: Timestamp(NOW.0 - 86_400_000),
        labels: label("tier", ["web", "data"][row as usize % 2]),
    })
}

fn volume(row: u32, node: u32) -> Result<VolumeRow, Failure> {
    Ok(VolumeRow {
        name: VolumeName::new(format!("app-{row:06}.data")).map_err(invalid)?,
        app: Some(row),
        node: Some(node),
        size: ByteSize::gib(1),
        used: ByteSize::mib(u64::from(row % 1024)),
        written: Some(ago(row + 7)),
        snapshot: Some(ago(row)),
    })
}
