//! An app as its author describes it: containers, volumes and published ports.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, time::Duration};

use crate::{
    AppName, ByteSize, ContainerName, CpuMillis, NodeName, ServiceName, VolumeName, VolumeOptions,
};

/// A Compose project: what is deployed, moved, backed up and restored as one unit.
#[derive(Debug, Clone, PartialEq)]
pub struct App {
    /// Its name in the cluster.
    pub name: AppName,
    /// Its containers, in the order of the file. No dependency points in a circle.
    pub containers: Vec<ContainerSpec>,
    /// Its volumes.
    pub volumes: Vec<VolumeSpec>,
    /// Its published ports.
    pub services: Vec<Service>,
    /// Where it may run.
    pub placement: PlacementRules,
}

impl App {
    /// The memory that all containers together may use; zero where none is limited.
    #[must_use]
    pub fn memory(&self) -> ByteSize {
        self.containers.iter().filter_map(|c| c.memory).sum()
    }

    /// The CPU that all containers together may use; zero where none is limited.
    #[must_use]
    pub fn cpu(&self) -> CpuMillis {
        self.containers.iter().filter_map(|c| c.cpu).sum()
    }

    /// The space that all volumes together may use.
    #[must_use]
    pub fn size(&self) -> ByteSize {
        self.volumes.iter().map(|v| v.options.size).sum()
    }

    /// The container of this name.
    #[must_use]
    pub fn container(&self, name: &ContainerName) -> Option<&ContainerSpec> {
        self.containers.iter().find(|c| &c.name == name)
    }
}

/// One container of an app.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerSpec {
    /// Its name in the app.
    pub name: ContainerName,
    /// The image, as Docker names it.
    pub image: String,
    /// Replaces the image's entrypoint.
    pub entrypoint: Option<Vec<String>>,
    /// Replaces the image's command.
    pub command: Option<Vec<String>>,
    /// Environment variables.
    pub environment: BTreeMap<String, String>,
    /// `user` or `user:group`, by name or number.
    pub user: Option<String>,
    /// Replaces the image's working directory.
    pub working_dir: Option<PathBuf>,
    /// Volumes, and where the container sees them.
    pub mounts: Vec<Mount>,
    /// What must have happened before this container's process runs.
    pub depends_on: Vec<Dependency>,
    /// How the agent finds out whether it works.
    pub healthcheck: Option<Healthcheck>,
    /// When it is started again.
    pub restart: Restart,
    /// How long it may take to stop before it is killed.
    pub stop_grace_period: Duration,
    /// The most memory it may use.
    pub memory: Option<ByteSize>,
    /// The most CPU it may use.
    pub cpu: Option<CpuMillis>,
    /// Labels of the author's.
    pub labels: BTreeMap<String, String>,
    /// Other containers and services, under names of its own.
    pub links: Vec<Link>,
}

/// A volume in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The volume, as the Compose file names it.
    pub volume: String,
    /// Where the container sees it; absolute.
    pub path: PathBuf,
    /// Whether the container may only read it.
    pub read_only: bool,
}

/// What a container waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// The container waited for.
    pub on: ContainerName,
    /// What it must have reached.
    pub condition: Condition,
}

/// How far another container must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Its process runs.
    Started,
    /// Its health check passes.
    Healthy,
    /// It ended with status 0.
    Completed,
}

/// A check that the agent runs inside the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Healthcheck {
    /// The command; status 0 is healthy.
    pub test: Vec<String>,
    /// Time between two checks.
    pub interval: Duration,
    /// Time that one check may take.
    pub timeout: Duration,
    /// So many failures in a row make it unhealthy.
    pub retries: u32,
    /// Failures in this time after the start do not count.
    pub start_period: Duration,
}

/// When a container is started again after it ended. Docker's own policy is always `no`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// Never.
    No,
    /// Whenever it ends.
    Always,
    /// When it ends with a status other than 0, at most so often in a row.
    OnFailure { retries_max: Option<u32> },
    /// Whenever it ends, unless an operator stopped it.
    UnlessStopped,
}

/// Another container or service, under a name that the container chose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The name by which the container reaches it.
    pub alias: String,
    /// What it leads to.
    pub target: LinkTarget,
}

/// What a link leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkTarget {
    /// A container of the same app.
    Container(ContainerName),
    /// The services of another app, wherever it runs, through the node's own proxy.
    App(AppName),
}

/// A volume of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeSpec {
    /// What the Compose file calls it.
    pub key: String,
    /// Where it comes from.
    pub source: VolumeSource,
    /// What it is to be like.
    pub options: VolumeOptions,
    /// User and group that own the empty volume; `None` leaves it with root.
    pub owner: Option<(u32, u32)>,
}

/// Where a volume comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumeSource {
    /// Made with the app, under this name in the cluster.
    Own(VolumeName),
    /// Made by an operator before, and kept when the app is removed.
    External(VolumeName),
}

impl VolumeSpec {
    /// The volume's name in the cluster.
    #[must_use]
    pub fn name(&self) -> &VolumeName {
        match &self.source {
            VolumeSource::Own(name) | VolumeSource::External(name) => name,
        }
    }
}

/// A published port: clients reach it on every node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its name in the app: `CONTAINER` for the first port of a container, `CONTAINER-PORT` for more.
    pub name: ServiceName,
    /// The container that answers.
    pub container: ContainerName,
    /// The address that proxies listen on; `None` means the node's own.
    pub host_ip: Option<IpAddr>,
    /// The port that proxies listen on.
    pub port: u16,
    /// The port that the container listens on.
    pub container_port: u16,
}

/// What the author says about where the app may run; policies read it as labels, the core enforces it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PlacementRules {
    /// Only these nodes, where any are named.
    pub nodes: Vec<NodeName>,
    /// Only nodes with all of these labels.
    pub labels: BTreeMap<String, String>,
    /// Stay, even where a policy would rather move it.
    pub pinned: bool,
}
