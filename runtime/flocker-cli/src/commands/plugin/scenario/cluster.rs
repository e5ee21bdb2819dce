//! A made-up cluster: the tables and columns of `wit/columns.md`, with names where a real one has rows. What is left out
//! is filled in as on a healthy cluster, and what follows from other tables is counted from them.

use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc};

use flocker_model::{ByteSize, Capacity, CpuMillis, Epoch, Revision, Timestamp};
use flocker_planner::{AppRow, ClusterView, NodeRow, ReplicaRow, VolumeRow};
use serde::Deserialize;

use super::quantity::{Bytes, Moment};

/// The time of a question that does not say when it is asked: 2026-01-01.
const NOW: Timestamp = Timestamp(1_767_225_600_000);

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Cluster {
    now_ms: Option<Moment>,
    #[serde(default)]
    nodes: Vec<Node>,
    #[serde(default)]
    apps: Vec<App>,
    #[serde(default)]
    volumes: Vec<Volume>,
    #[serde(default)]
    replicas: Vec<Replica>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Node {
    name: String,
    #[serde(default = "yes")]
    alive: bool,
    #[serde(default)]
    draining: bool,
    memory_bytes: Option<Bytes>,
    memory_free_bytes: Option<Bytes>,
    memory_promised_bytes: Option<Bytes>,
    cpu_millis: Option<u32>,
    cpu_promised_millis: Option<u32>,
    pool_bytes: Option<Bytes>,
    pool_free_bytes: Option<Bytes>,
    #[serde(default)]
    load_millis: u32,
    apps: Option<u32>,
    volumes: Option<u32>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

fn yes() -> bool {
    true
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct App {
    name: String,
    node: Option<String>,
    epoch: Option<u64>,
    memory_bytes: Option<Bytes>,
    #[serde(default)]
    cpu_millis: u32,
    size_bytes: Option<Bytes>,
    placed_ms: Option<Moment>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Volume {
    name: String,
    app: Option<String>,
    node: Option<String>,
    size_bytes: Option<Bytes>,
    used_bytes: Option<Bytes>,
    written_ms: Option<Moment>,
    snapshot_ms: Option<Moment>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Replica {
    volume: String,
    node: String,
    taken_ms: Option<Moment>,
}

/// The cluster as policies see it, and where in it things are.
pub(super) struct View {
    pub(super) cluster: Arc<ClusterView>,
}

impl View {
    /// Row of a node.
    pub(super) fn node(&self, name: &str) -> Result<u32, String> {
        row("node", name, self.cluster.nodes.iter().map(|n| n.name.as_str()))
    }

    /// Row of an app.
    pub(super) fn app(&self, name: &str) -> Result<u32, String> {
        row("app", name, self.cluster.apps.iter().map(|a| a.name.as_str()))
    }

    /// Row of a volume.
    pub(super) fn volume(&self, name: &str) -> Result<u32, String> {
        row("volume", name, self.cluster.volumes.iter().map(|v| v.name.as_str()))
    }

    /// Name of a node.
    pub(super) fn node_name(&self, row: u32) -> String {
        let node = self.cluster.nodes.get(row as usize);
        node.map_or_else(|| format!("row {row}"), |n| n.name.to_string())
    }

    /// Name of an app.
    pub(super) fn app_name(&self, row: u32) -> String {
        let app = self.cluster.apps.get(row as usize);
        app.map_or_else(|| format!("row {row}"), |a| a.name.to_string())
    }

    /// Name of a volume.
    pub(super) fn volume_name(&self, row: u32) -> String {
        let volume = self.cluster.volumes.get(row as usize);
        volume.map_or_else(|| format!("row {row}"), |v| v.name.to_string())
    }
}

/// Where in a table a name is.
fn row<'a>(
    kind: &str,
    name: &str,
    mut names: impl Iterator<Item = &'a str> + Clone,
) -> Result<u32, String> {
    let all = names.clone();
    let position = names.position(|n| n == name).and_then(|p| u32::try_from(p).ok());
    position.ok_or_else(|| {
        let all: Vec<_> = all.map(|n| format!("`{n}`")).collect();
        let all = if all.is_empty() { "none".to_owned() } else { all.join(", ") };
        format!("there is no {kind} `{name}` in the cluster; its {kind}s: {all}")
    })
}

impl Cluster {
    /// The view of it.
    ///
    /// # Errors
    /// A name that is not allowed, there twice, or nowhere.
    pub(super) fn view(&self) -> Result<View, String> {
        let now = self.now_ms.map_or(NOW, |now| now.seen_from(NOW));
        let mut cluster = ClusterView { generation: Revision(1), now, ..ClusterView::default() };
        // Rows are in the order of names.
        let nodes = sorted("node", &self.nodes, |n| &n.name)?;
        cluster.nodes = nodes.iter().map(|n| n.row()).collect::<Result<_, _>>()?;
        let mut view = View { cluster: Arc::new(cluster) };
        let apps = sorted("app", &self.apps, |a| &a.name)?;
        let apps = apps.iter().map(|a| a.row(&view)).collect::<Result<_, _>>()?;
        view.change(|cluster| cluster.apps = apps);
        let volumes = sorted("volume", &self.volumes, |v| &v.name)?;
        let volumes = volumes.iter().map(|v| v.row(&view)).collect::<Result<_, _>>()?;
        view.change(|cluster| cluster.volumes = volumes);
        let mut replicas: Vec<_> =
            self.replicas.iter().map(|r| r.row(&view)).collect::<Result<_, _>>()?;
        replicas.sort_by_key(|r| (r.volume, r.node));
        view.change(|cluster| cluster.replicas = replicas);
        view.change(|cluster| count(cluster, &nodes));
        Ok(view)
    }
}

impl View {
    fn change(&mut self, change: impl FnOnce(&mut ClusterView)) {
        change(Arc::make_mut(&mut self.cluster));
    }
}

fn sorted<'a, R>(
    kind: &str,
    rows: &'a [R],
    name: impl Fn(&R) -> &String,
) -> Result<Vec<&'a R>, String> {
    let mut sorted: Vec<_> = rows.iter().collect();
    sorted.sort_by(|a, b| name(a).cmp(name(b)));
    match sorted.windows(2).find(|pair| name(pair[0]) == name(pair[1])) {
        Some(pair) => Err(format!("there are two {kind}s of the name `{}`", name(pair[0]))),
        None => Ok(sorted),
    }
}

/// Fills in what follows from apps and volumes, where a node does not say otherwise.
fn count(cluster: &mut ClusterView, said: &[&Node]) {
    for (row, (node, said)) in (0..).zip(cluster.nodes.iter_mut().zip(said)) {
        let apps = cluster.apps.iter().filter(|a| a.node == Some(row));
        let memory = apps.clone().map(|a| a.memory.0).fold(0, u64::saturating_add);
        let cpu = apps.clone().map(|a| a.cpu.0).fold(0, u32::saturating_add);
        let volumes = cluster.volumes.iter().filter(|v| v.node == Some(row)).count();
        node.memory_promised = said.memory_promised_bytes.map_or(ByteSize(memory), |b| b.0);
        let free = ByteSize(node.memory.total.0.saturating_sub(node.memory_promised.0));
        node.memory.free = said.memory_free_bytes.map_or(free, |b| b.0);
        node.cpu_promised = CpuMillis(said.cpu_promised_millis.unwrap_or(cpu));
        node.apps = said.apps.unwrap_or(u32::try_from(apps.count()).unwrap_or(u32::MAX));
        node.volumes = said.volumes.unwrap_or(u32::try_from(volumes).unwrap_or(u32::MAX));
    }
}

/// A name, checked.
pub(super) fn named<T: FromStr<Err: fmt::Display>>(name: &str) -> Result<T, String> {
    name.parse().map_err(|e: T::Err| e.to_string())
}

/// Bytes, or 0.
pub(super) fn bytes(size: Option<Bytes>) -> ByteSize {
    size.map_or(ByteSize(0), |s| s.0)
}

impl Node {
    fn row(&self) -> Result<NodeRow, String> {
        let memory = self.memory_bytes.map_or(ByteSize::gib(16), |b| b.0);
        let pool = self.pool_bytes.map_or(ByteSize::gib(100), |b| b.0);
        Ok(NodeRow {
            name: named(&self.name)?,
            alive: self.alive,
            draining: self.draining,
            memory: Capacity { total: memory, free: memory },
            cpu: CpuMillis(self.cpu_millis.unwrap_or(4000)),
            cpu_promised: CpuMillis(0),
            memory_promised: ByteSize(0),
            pool: Capacity { total: pool, free: self.pool_free_bytes.map_or(pool, |b| b.0) },
            streams: String::new(),
            load_millis: self.load_millis,
            apps: 0,
            volumes: 0,
            labels: self.labels.clone(),
        })
    }
}

impl App {
    fn row(&self, view: &View) -> Result<AppRow, String> {
        let placed = self.placed_ms.map(|at| at.seen_from(view.cluster.now));
        Ok(AppRow {
            name: named(&self.name)?,
            node: self.node.as_ref().map(|n| view.node(n)).transpose()?,
            epoch: Epoch(self.epoch.unwrap_or(1)),
            memory: bytes(self.memory_bytes),
            cpu: CpuMillis(self.cpu_millis),
            size: bytes(self.size_bytes),
            placed: placed.unwrap_or(Timestamp(0)),
            labels: self.labels.clone(),
        })
    }
}

impl Volume {
    /// A volume is where its app is, unless it says otherwise.
    fn row(&self, view: &View) -> Result<VolumeRow, String> {
        let app = self.app.as_ref().map(|a| view.app(a)).transpose()?;
        let beside = app.and_then(|app| view.cluster.apps.get(app as usize)).and_then(|a| a.node);
        let node = self.node.as_ref().map(|n| view.node(n)).transpose()?;
        let moment = |at: Option<Moment>| at.map(|at| at.seen_from(view.cluster.now));
        Ok(VolumeRow {
            name: named(&self.name)?,
            app,
            node: node.or(beside),
            size: bytes(self.size_bytes),
            used: bytes(self.used_bytes),
            written: moment(self.written_ms),
            snapshot: moment(self.snapshot_ms),
        })
    }
}

impl Replica {
    fn row(&self, view: &View) -> Result<ReplicaRow, String> {
        Ok(ReplicaRow {
            volume: view.volume(&self.volume)?,
            node: view.node(&self.node)?,
            taken: self.taken_ms.map(|at| at.seen_from(view.cluster.now)),
        })
    }
}
