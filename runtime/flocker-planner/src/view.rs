//! The cluster as policies see it, made from what the leader knows.

use std::{collections::BTreeMap, sync::Arc};

use flocker_model::{
    App, AppRecord, ByteSize, Capacity, NodeName, OperationId, OperationKind, Purpose, Timestamp,
    VolumeName,
};

use crate::{
    AppRow, ClusterView, NodeRow, PlacementQuestion, ReplicaRow, VolumeRow,
    plan::{NodeSeen, World},
};

/// A view, and where in it things are.
#[derive(Debug, Clone)]
pub(crate) struct View {
    /// What policies see.
    pub(crate) cluster: Arc<ClusterView>,
    nodes: BTreeMap<NodeName, u32>,
    volumes: BTreeMap<VolumeName, u32>,
}

impl View {
    /// The view of everything known. An app that is on its way counts at the node that it goes to, and an app counts
    /// among the promised ones at the node where it is.
    #[must_use]
    pub(crate) fn of(world: &World) -> Self {
        let nodes: BTreeMap<NodeName, u32> = world.nodes.keys().cloned().zip(0..).collect();
        let mut cluster = ClusterView {
            generation: world.revision,
            now: world.now,
            nodes: world.nodes.values().map(node_row).collect(),
            ..ClusterView::default()
        };
        for (record, app) in world.apps.values() {
            let node = home(world, record).and_then(|n| nodes.get(n)).copied();
            if let Some(row) = node.and_then(|n| cluster.nodes.get_mut(n as usize)) {
                promise(row, app);
            }
            cluster.apps.push(app_row(record, app, node));
        }
        let mut volumes = BTreeMap::new();
        for volume in &world.volumes {
            let row = u32::try_from(cluster.volumes.len()).unwrap_or(u32::MAX);
            volumes.insert(volume.name.clone(), row);
            let owner = volume.owner.as_ref().and_then(|n| nodes.get(n)).copied();
            let app =
                volume.app.as_ref().and_then(|a| world.apps.keys().position(|name| name == a));
            cluster.volumes.push(VolumeRow {
                name: volume.name.clone(),
                app: app.and_then(|a| u32::try_from(a).ok()),
                node: owner,
                size: volume.options.size,
                used: used(world, volume),
                written: written(world, volume),
                snapshot: world.snapshots.get(&volume.id).map(|taken| taken.newest),
            });
            if let Some(row) = owner.and_then(|n| cluster.nodes.get_mut(n as usize)) {
                row.volumes += 1;
            }
            let copies = volume.replicas.iter().filter_map(|replica| {
                Some(ReplicaRow {
                    volume: row,
                    node: *nodes.get(&replica.node)?,
                    taken: replica.taken,
                })
            });
            cluster.replicas.extend(copies);
        }
        Self { cluster: Arc::new(cluster), nodes, volumes }
    }

    /// The question where an app should be.
    #[must_use]
    pub(crate) fn question(
        &self,
        world: &World,
        record: &AppRecord,
        app: &App,
        purpose: Purpose,
        decision: OperationId,
        seed: u64,
    ) -> PlacementQuestion {
        let volumes: Vec<u32> =
            app.volumes.iter().filter_map(|v| self.volumes.get(v.name())).copied().collect();
        let copies = |node: &u32| {
            self.cluster
                .replicas
                .iter()
                .filter(|r| r.node == *node && volumes.contains(&r.volume))
                .count()
        };
        let holders = match volumes.len() {
            0 => vec![],
            all => self.nodes.values().filter(|node| copies(node) == all).copied().collect(),
        };
        let row = world.apps.keys().position(|name| *name == record.name);
        PlacementQuestion {
            decision,
            seed,
            what: crate::Placed::App,
            purpose,
            name: record.name.clone(),
            app: row.and_then(|row| u32::try_from(row).ok()),
            volumes,
            current: record.owner.as_ref().and_then(|n| self.nodes.get(n)).copied(),
            size: app.size(),
            memory: app.memory(),
            cpu: app.cpu(),
            holders,
            labels: labels(app),
            candidates: vec![],
        }
    }
}

/// Where an app is, or will be when the operation that holds it is done.
fn home<'a>(world: &'a World, record: &'a AppRecord) -> Option<&'a NodeName> {
    let operation = record.operation.as_ref().and_then(|id| world.operations.get(id));
    match operation.map(|o| (&o.kind, &o.undoing)) {
        Some((OperationKind::Move { target, .. } | OperationKind::Deploy { target, .. }, None)) => {
            Some(target)
        }
        Some(_) | None => record.owner.as_ref(),
    }
}

fn node_row(seen: &NodeSeen) -> NodeRow {
    NodeRow {
        alive: seen.alive,
        draining: seen.node.draining,
        memory: Capacity { total: seen.stats.memory.total, free: seen.stats.memory.total },
        cpu: seen.stats.cpu,
        pool: seen.stats.pool,
        streams: seen.stats.streams.clone(),
        load_millis: seen.stats.load_millis,
        labels: seen.node.labels.clone(),
        ..NodeRow::new(seen.node.name.clone())
    }
}

fn promise(row: &mut NodeRow, app: &App) {
    row.apps += 1;
    row.memory_promised.0 = row.memory_promised.0.saturating_add(app.memory().0);
    row.memory.free.0 = row.memory.total.0.saturating_sub(row.memory_promised.0);
    row.cpu_promised.0 = row.cpu_promised.0.saturating_add(app.cpu().0);
}

fn app_row(record: &AppRecord, app: &App, node: Option<u32>) -> AppRow {
    AppRow {
        name: record.name.clone(),
        node,
        epoch: record.epoch,
        memory: app.memory(),
        cpu: app.cpu(),
        size: app.size(),
        placed: record.placed,
        labels: labels(app),
    }
}

fn labels(app: &App) -> BTreeMap<String, String> {
    app.containers.iter().flat_map(|c| c.labels.clone()).collect()
}

fn used(world: &World, volume: &flocker_model::Volume) -> ByteSize {
    let seen =
        volume.owner.as_ref().and_then(|n| world.nodes.get(n)).and_then(|n| n.volumes.as_ref());
    let state = seen.and_then(|volumes| volumes.iter().find(|v| v.id == volume.id));
    state.map_or(ByteSize(0), |v| v.used)
}

/// What the owner said last, also of one that is silent now.
fn written(world: &World, volume: &flocker_model::Volume) -> Option<Timestamp> {
    world.nodes.get(volume.owner.as_ref()?)?.written.get(&volume.id).copied()
}
