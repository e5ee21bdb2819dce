//! The container engine of one node (Docker, Podman), as the agent needs it.

use std::{fmt, net::IpAddr, path::PathBuf, pin::Pin, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use flocker_model::{AppName, ContainerName, ContainerSpec, Epoch, Timestamp};
use futures::Stream;

/// The engine's own id of a container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(pub String);

/// A container to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerPlan {
    /// The app it belongs to.
    pub app: AppName,
    /// The epoch under which the app runs here.
    pub epoch: Epoch,
    /// What it is.
    pub spec: ContainerSpec,
    /// All containers of the app, which it reaches under their own names.
    pub siblings: Vec<ContainerName>,
}

/// A container of ours on this node.
#[derive(Debug, Clone, PartialEq)]
pub struct Container {
    /// The engine's id.
    pub id: ContainerId,
    /// The app it belongs to.
    pub app: AppName,
    /// Its name in the app.
    pub name: ContainerName,
    /// The epoch it was made for.
    pub epoch: Epoch,
    /// Tells whether it was made from the same specification.
    pub digest: String,
    /// How it stands.
    pub state: ContainerState,
    /// Its address on the node's network, while it is started.
    pub address: Option<IpAddr>,
}

/// How a container stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerState {
    /// Made, not started.
    Created,
    /// Started; the gate waits inside, the app's own process was not executed.
    Gated,
    /// The app's own process runs.
    Running { since: Timestamp },
    /// It ended.
    Exited { status: i64, at: Timestamp, out_of_memory: bool },
}

/// A volume that is to be mounted into a gated container, and the proof that the gate checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedMount {
    /// The folder on the node.
    pub source: PathBuf,
    /// `st_dev` that the gate must see.
    pub device: u64,
    /// `st_ino` that the gate must see.
    pub inode: u64,
    /// Where the container sees it.
    pub path: PathBuf,
    /// Whether it may only read it.
    pub read_only: bool,
}

/// Something happened to a container of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerEvent {
    /// It ended.
    Ended(ContainerId),
    /// Some events may have been missed (the engine was restarted): look at everything again.
    Resync,
}

/// The result of a command inside a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecResult {
    /// Its exit status.
    pub status: i64,
    /// The end of what it printed, for people.
    pub output: String,
}

/// A piece of a container's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogChunk {
    /// The container.
    pub container: ContainerName,
    /// Whether it was written to stderr.
    pub stderr: bool,
    /// The bytes, not cut at lines.
    pub bytes: Bytes,
}

/// A container's output; endless when followed.
pub type LogStream = Pin<Box<dyn Stream<Item = Result<LogChunk, EngineError>> + Send>>;

/// The container engine of one node. Touches nothing that does not carry our label and this node's name.
///
/// Every start goes through the gate: a small program of ours that waits inside the container until its volumes were
/// mounted and proved, and then becomes the app's process.
#[async_trait]
pub trait Engine: Send + Sync + fmt::Debug {
    /// Whether the engine answers; its name and version, for people.
    async fn ping(&self) -> Result<String, EngineError>;

    /// Every container of ours on this node. An error means *unknown*, never *none*.
    async fn list(&self) -> Result<Vec<Container>, EngineError>;

    /// Makes sure that the image is here, and pulls it where it is not.
    async fn ensure_image(&self, image: &str) -> Result<(), EngineError>;

    /// Makes the container, or finds the one that was made from the same plan; one from another plan is replaced,
    /// unless its own process runs ([`EngineError::Conflict`]).
    async fn create(&self, plan: &ContainerPlan) -> Result<Container, EngineError>;

    /// Starts it up to its gate. No effect on one that is gated already; [`EngineError::Conflict`] on one that runs.
    async fn start_gated(&self, id: &ContainerId) -> Result<Container, EngineError>;

    /// Mounts the volumes, proves them, and lets the app's own process run. No effect on one that runs already.
    async fn open_gate(
        &self,
        id: &ContainerId,
        mounts: &[VerifiedMount],
    ) -> Result<(), EngineError>;

    /// Asks it to end, and kills it after `grace`. No effect on one that does not run, or is gone.
    async fn stop(&self, id: &ContainerId, grace: Duration) -> Result<(), EngineError>;

    /// Removes a container of ours, killing it where it runs. No effect on one that is gone.
    async fn remove(&self, id: &ContainerId) -> Result<(), EngineError>;

    /// Runs a command inside it.
    async fn exec(
        &self,
        id: &ContainerId,
        command: &[String],
        timeout: Duration,
    ) -> Result<ExecResult, EngineError>;

    /// Its output: the last `tail` lines where given, and on where `follow`.
    async fn logs(
        &self,
        id: &ContainerId,
        name: &ContainerName,
        follow: bool,
        tail: Option<u32>,
    ) -> Result<LogStream, EngineError>;

    /// What happens to containers of ours. Begins with a [`ContainerEvent::Resync`], from which on everything is heard, also
    /// across restarts of the engine.
    fn events(&self) -> Pin<Box<dyn Stream<Item = ContainerEvent> + Send>>;
}

/// What an engine refuses or cannot do.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// It does not answer.
    #[error(
        "the container engine at `{address}` does not answer: {reason}\nhint: `systemctl status docker` shows whether it runs; containers that run are not affected"
    )]
    Unreachable { address: String, reason: String },
    /// The image is not here and cannot be had.
    #[error(
        "image `{image}` is not on this node and could not be pulled: {reason}\nhint: `docker pull {image}` on the node shows the whole answer; an image can also be loaded with `docker load`"
    )]
    NoImage { image: String, reason: String },
    /// There is no such container of ours.
    #[error("container `{0}` does not exist")]
    NoSuchContainer(String),
    /// It is in a state that the request does not fit.
    #[error("container `{container}` {reason}")]
    Conflict { container: String, reason: String },
    /// The gate did not let the app start.
    #[error("container `{container}` was not started: {reason}")]
    GateRefused { container: String, reason: String },
    /// It did not come in time.
    #[error("{action} took longer than {}s", limit.as_secs())]
    Timeout { action: String, limit: Duration },
    /// The engine refused or failed.
    #[error("{action}: {reason}")]
    Failed { action: String, reason: String },
}
