//! The port's verbs, each as a few steps over what the other modules know.

use std::{fs::File, net::IpAddr, path::PathBuf, pin::Pin, sync::Arc, time::Duration};

use async_trait::async_trait;
use bollard::{
    models::{ContainerCreateBody, ImageConfig},
    query_parameters::{
        CreateContainerOptions, CreateImageOptions, KillContainerOptions, RemoveContainerOptions,
    },
};
use flocker_gate::{
    FOLDER, Order, PROGRAM, Proof, REFUSAL, STATUS_NOT_EXECUTABLE, STATUS_NOT_FOUND, STATUS_REFUSED,
};
use flocker_model::ContainerName;
use flocker_ports::{
    Container, ContainerEvent, ContainerId, ContainerPlan, ContainerState, Engine, EngineError,
    ExecResult, LogStream, VerifiedMount,
};
use futures::{Stream, StreamExt, TryStreamExt};
use rustix::process::Signal;
use tokio::sync::Mutex;

use crate::{
    DockerConfig,
    connection::{Connection, is_status, reason},
    events,
    gate::{Gates, Standing},
    labels,
    mount::mount_into,
    process::{Process, stop_signal},
    spec::{self, Surroundings},
    state::Seen,
};

/// How long a gate may take to appear after Docker started it, and to become the app after its order.
const GATE: Duration = Duration::from_secs(20);

/// How long the kernel may take to end a process that was killed.
const KILL: Duration = Duration::from_secs(20);

/// The containers of one node, on Docker.
#[derive(Debug)]
pub struct DockerEngine {
    pub(crate) config: DockerConfig,
    pub(crate) connection: Arc<Connection>,
    pub(crate) gates: Gates,
    pub(crate) network: Mutex<()>,
}

impl DockerEngine {
    /// Takes note of where Docker is. Works without Docker: each call then answers [`EngineError::Unreachable`].
    #[must_use]
    pub fn connect(config: DockerConfig) -> Self {
        let connection = Arc::new(Connection::new(config.socket.clone()));
        let gates = Gates::new(config.gate.clone(), &config.state_dir);
        Self { config, connection, gates, network: Mutex::new(()) }
    }

    async fn image(&self, image: &str) -> Result<Option<ImageConfig>, EngineError> {
        match self.connection.docker().await?.inspect_image(image).await {
            Ok(found) => Ok(Some(found.config.unwrap_or_default())),
            Err(error) if is_status(&error, 404) => Ok(None),
            Err(error) => Err(self.connection.error(format!("look at image `{image}`"), error)),
        }
    }

    async fn pull(&self, image: &str) -> Result<(), EngineError> {
        let refused = |reason: String| EngineError::NoImage { image: image.to_owned(), reason };
        let last = image.rsplit('/').next().unwrap_or(image);
        // Without a tag Docker would pull them all.
        let tag = if last.contains([':', '@']) { None } else { Some("latest".to_owned()) };
        let options = CreateImageOptions {
            from_image: Some(image.to_owned()),
            tag,
            ..CreateImageOptions::default()
        };
        let mut pulling = self.connection.docker().await?.create_image(Some(options), None, None);
        while let Some(step) = pulling.next().await {
            match step {
                Ok(step) => {
                    if let Some(message) = step.error_detail.and_then(|detail| detail.message) {
                        return Err(refused(message));
                    }
                }
                Err(error) => {
                    return Err(self.connection.error_or(error, refused));
                }
            }
        }
        Ok(())
    }

    async fn start(&self, seen: &Seen) -> Result<(), EngineError> {
        self.gates.close(&seen.name).map_err(|error| gate_failed(&seen.name, &error))?;
        let docker = self.connection.docker().await?;
        let started = docker.start_container(&seen.container.id.0, None).await;
        started.map_err(|error| match not_executed(&seen.name, &reason(&error)) {
            Some(refused) => refused,
            None => self.connection.error(format!("start container `{}`", seen.name), error),
        })
    }

    async fn make(&self, name: &str, body: ContainerCreateBody) -> Result<Container, EngineError> {
        self.gates.prepare(name).map_err(|error| gate_failed(name, &error))?;
        let options = CreateContainerOptions {
            name: Some(name.to_owned()),
            ..CreateContainerOptions::default()
        };
        let image = body.image.clone().unwrap_or_default();
        match self.connection.docker().await?.create_container(Some(options), body).await {
            Ok(made) => Ok(self.existing(&ContainerId(made.id)).await?.container),
            Err(error) => {
                self.gates.discard(name).map_err(|error| gate_failed(name, &error))?;
                Err(if is_status(&error, 404) {
                    EngineError::NoImage { image, reason: reason(&error) }
                } else if is_status(&error, 409) {
                    EngineError::Conflict { container: name.to_owned(), reason: reason(&error) }
                } else {
                    self.connection.error(format!("make container `{name}`"), error)
                })
            }
        }
    }

    /// Kills what runs and removes the rest.
    async fn clear(&self, seen: &Seen) -> Result<(), EngineError> {
        self.kill(seen).await?;
        let docker = self.connection.docker().await?;
        // With the volumes that Docker itself made for the image, which nobody can ever find again.
        let options = RemoveContainerOptions { v: true, force: true, link: false };
        match docker.remove_container(&seen.container.id.0, Some(options)).await {
            Ok(()) => {}
            Err(error) if is_status(&error, 404) => {}
            Err(error) => {
                return Err(self
                    .connection
                    .error(format!("remove container `{}`", seen.name), error));
            }
        }
        self.gates.discard(&seen.name).map_err(|error| gate_failed(&seen.name, &error))
    }

    async fn kill(&self, seen: &Seen) -> Result<(), EngineError> {
        let Some(process) = process(seen)? else { return Ok(()) };
        process.signal(Signal::KILL).map_err(|error| stop_failed(&seen.name, &error))?;
        self.thaw(seen).await;
        if process.ended(KILL).await.map_err(|error| stop_failed(&seen.name, &error))? {
            return Ok(());
        }
        Err(EngineError::Timeout {
            action: format!("killing container `{}`", seen.name),
            limit: KILL,
        })
    }

    /// Asks the app to end; whether it did in time.
    async fn ask_to_end(&self, seen: &Seen, grace: Duration) -> Result<bool, EngineError> {
        let Some(process) = process(seen)? else { return Ok(true) };
        match stop_signal(&seen.stop_signal) {
            Some(signal) => {
                process.signal(signal).map_err(|error| stop_failed(&seen.name, &error))?
            }
            None => {
                let docker = self.connection.docker().await?;
                let options = KillContainerOptions { signal: seen.stop_signal.clone() };
                match docker.kill_container(&seen.container.id.0, Some(options)).await {
                    Ok(()) => {}
                    // It ended by itself in the meantime.
                    Err(error) if is_status(&error, 404) || is_status(&error, 409) => {}
                    Err(error) => {
                        return Err(self
                            .connection
                            .error(format!("stop container `{}`", seen.name), error));
                    }
                }
            }
        }
        self.thaw(seen).await;
        process.ended(grace).await.map_err(|error| stop_failed(&seen.name, &error))
    }

    /// A container that somebody paused sees the signal that it was sent only when it goes on.
    async fn thaw(&self, seen: &Seen) {
        if !seen.paused {
            return;
        }
        let Ok(docker) = self.connection.docker().await else { return };
        // Somebody may have let it go on by now. If it does not, its end is waited for in vain, and that is reported.
        if let Err(error) = docker.unpause_container(&seen.container.id.0).await {
            tracing::debug!(container = seen.name, %error, "could not let a paused container go on");
        }
    }

    /// Everything that must be true before volumes are carried into a container.
    fn check_mounts(seen: &Seen, mounts: &[VerifiedMount]) -> Result<(), EngineError> {
        let refused =
            |reason| Err(EngineError::GateRefused { container: seen.name.clone(), reason });
        let missing =
            seen.mounts.iter().find(|path| mounts.iter().all(|mount| &mount.path != *path));
        let unknown = mounts.iter().find(|mount| !seen.mounts.contains(&mount.path));
        match (missing, unknown) {
            (Some(path), _) => refused(format!("no volume was given for `{}`", path.display())),
            (None, Some(mount)) => {
                refused(format!("it was made without a volume at `{}`", mount.path.display()))
            }
            (None, None) => Ok(()),
        }
    }

    async fn mount(&self, seen: &Seen, mounts: &[VerifiedMount]) -> Result<(), EngineError> {
        let gone = || conflict(&seen.name, "ended while it waited at its gate");
        let namespace = File::open(format!("/proc/{}/ns/mnt", seen.pid)).map_err(|_| gone())?;
        // Alive after the file was opened means that the file is its own, and no later process's of the same number.
        let Some(process) = process(seen)? else { return Err(gone()) };
        if process.ended(Duration::ZERO).await.map_err(|error| gate_failed(&seen.name, &error))? {
            return Err(gone());
        }
        let mounted = mount_into(namespace, self.gates.placeholder(), mounts.to_vec()).await;
        mounted.map_err(|error| EngineError::GateRefused {
            container: seen.name.clone(),
            reason: error.to_string(),
        })
    }

    /// After the gate closed its end of the FIFO: it is the app now, or it has ended, or the app has ended already.
    async fn passed(&self, seen: &Seen) -> Result<(), EngineError> {
        let standing = self.gates.standing(&seen.name, seen.pid, &seen.started);
        if standing.map_err(|error| gate_failed(&seen.name, &error))? == Standing::Passed {
            return Ok(());
        }
        let id = &seen.container.id;
        match self.existing(id).await?.container.state {
            ContainerState::Running { .. } => Ok(()),
            ContainerState::Exited { status, .. } => {
                self.refusal(seen, status).await.map_or(Ok(()), Err)
            }
            ContainerState::Gated | ContainerState::Created => {
                let reason = "the gate did not act on its order".to_owned();
                Err(EngineError::GateRefused { container: seen.name.clone(), reason })
            }
        }
    }

    /// What the gate said, if it was the gate that ended and not an app with the same status.
    async fn refusal(&self, seen: &Seen, status: i64) -> Option<EngineError> {
        if ![STATUS_REFUSED, STATUS_NOT_EXECUTABLE, STATUS_NOT_FOUND]
            .map(i64::from)
            .contains(&status)
        {
            return None;
        }
        let reason = self.last_line(seen).await?.strip_prefix(REFUSAL)?.to_owned();
        Some(EngineError::GateRefused { container: seen.name.clone(), reason })
    }

    /// Why there never was a gate in a container that was started, if Docker could not execute it.
    async fn without_gate(&self, seen: &Seen) -> Option<EngineError> {
        not_executed(&seen.name, &self.last_line(seen).await?)
    }

    /// What was said last in a container.
    async fn last_line(&self, seen: &Seen) -> Option<String> {
        let container = &seen.container;
        let said = async {
            self.output(&container.id, &container.name, false, Some(1)).await?.try_collect().await
        };
        let said: Vec<_> = said.await.ok()?;
        let text: Vec<u8> = said.iter().flat_map(|chunk| chunk.bytes.iter().copied()).collect();
        Some(String::from_utf8_lossy(&text).trim().to_owned())
    }

    async fn prepared(
        &self,
        plan: &ContainerPlan,
        gateway: IpAddr,
    ) -> Result<(String, Prepared), EngineError> {
        let name = labels::container(&self.config.node, &plan.app, &plan.spec.name);
        let image = self.image(&plan.spec.image).await?.ok_or_else(|| EngineError::NoImage {
            image: plan.spec.image.clone(),
            reason: "it was not pulled before the container was to be made".to_owned(),
        })?;
        let (gate, placeholder) = (self.gates.folder(&name), self.gates.placeholder());
        let node = &self.config.node;
        let around =
            Surroundings { node, gateway, image: &image, gate: &gate, placeholder: &placeholder };
        let (body, identity) = spec::request(plan, &around).map_err(|reason| {
            EngineError::Failed { action: format!("could not make container `{name}`"), reason }
        })?;
        Ok((name, Prepared { body, digest: identity.digest }))
    }
}

/// A request for Docker, and what the container will be known by.
struct Prepared {
    body: ContainerCreateBody,
    digest: String,
}

#[async_trait]
impl Engine for DockerEngine {
    async fn ping(&self) -> Result<String, EngineError> {
        let version = self.connection.docker().await?.version().await;
        let version =
            version.map_err(|error| self.connection.error("ask Docker for its version", error))?;
        Ok(format!(
            "Docker {}",
            version.version.unwrap_or_else(|| "of an unknown version".to_owned())
        ))
    }

    async fn list(&self) -> Result<Vec<Container>, EngineError> {
        Ok(self.all().await?.into_iter().map(|seen| seen.container).collect())
    }

    async fn ensure_image(&self, image: &str) -> Result<(), EngineError> {
        if self.image(image).await?.is_some() {
            return Ok(());
        }
        tracing::info!(image, "pulling");
        self.pull(image).await?;
        match self.image(image).await? {
            Some(_) => Ok(()),
            None => {
                let reason = "it was pulled, and is not there".to_owned();
                Err(EngineError::NoImage { image: image.to_owned(), reason })
            }
        }
    }

    async fn create(&self, plan: &ContainerPlan) -> Result<Container, EngineError> {
        let gateway = self.ensure_network().await?;
        let (name, prepared) = self.prepared(plan, gateway).await?;
        let all = self.all().await?;
        let found = all
            .into_iter()
            .find(|seen| seen.container.app == plan.app && seen.container.name == plan.spec.name);
        if let Some(seen) = found {
            let same =
                seen.container.digest == prepared.digest && seen.container.epoch == plan.epoch;
            if same && self.gates.is_prepared(&name) {
                return Ok(seen.container);
            }
            match seen.container.state {
                ContainerState::Running { .. } => {
                    return Err(conflict(&name, "was made from another plan, and runs"));
                }
                ContainerState::Created | ContainerState::Gated | ContainerState::Exited { .. } => {
                    self.clear(&seen).await?;
                }
            }
        }
        self.make(&name, prepared.body).await
    }

    async fn start_gated(&self, id: &ContainerId) -> Result<Container, EngineError> {
        let seen = self.existing(id).await?;
        match seen.container.state {
            ContainerState::Gated => return Ok(seen.container),
            ContainerState::Running { .. } => return Err(conflict(&seen.name, "runs already")),
            ContainerState::Created | ContainerState::Exited { .. } => {}
        }
        self.start(&seen).await?;
        let seen = self.existing(id).await?;
        match seen.container.state {
            ContainerState::Gated => Ok(seen.container),
            ContainerState::Running { .. } | ContainerState::Created => {
                Err(conflict(&seen.name, "did not stop at its gate"))
            }
            ContainerState::Exited { status, .. } => {
                let ended = EngineError::GateRefused {
                    container: seen.name.clone(),
                    reason: format!("its gate ended with status {status}"),
                };
                let refused = self.refusal(&seen, status).await;
                Err(refused.or(self.without_gate(&seen).await).unwrap_or(ended))
            }
        }
    }

    async fn open_gate(
        &self,
        id: &ContainerId,
        mounts: &[VerifiedMount],
    ) -> Result<(), EngineError> {
        let seen = self.existing(id).await?;
        match seen.container.state {
            ContainerState::Running { .. } => return Ok(()),
            ContainerState::Gated => {}
            ContainerState::Created | ContainerState::Exited { .. } => {
                return Err(conflict(&seen.name, "is not started, so it has no gate to open"));
            }
        }
        Self::check_mounts(&seen, mounts)?;
        let gate = match self.gates.reach(&seen.name, GATE).await {
            Ok(gate) => gate,
            Err(error) => {
                let failed = gate_failed(&seen.name, &error);
                return Err(self.without_gate(&seen).await.unwrap_or(failed));
            }
        };
        self.mount(&seen, mounts).await?;
        let marked = self.gates.mark_opened(&seen.name, &seen.started);
        marked.map_err(|error| gate_failed(&seen.name, &error))?;
        let order = Order { proofs: mounts.iter().map(proof).collect() };
        gate.open(&order, GATE).await.map_err(|error| gate_failed(&seen.name, &error))?;
        self.passed(&seen).await
    }

    async fn stop(&self, id: &ContainerId, grace: Duration) -> Result<(), EngineError> {
        let Some(seen) = self.seen(id).await? else { return Ok(()) };
        match seen.container.state {
            ContainerState::Created | ContainerState::Exited { .. } => Ok(()),
            // There is no app that could want to say goodbye.
            ContainerState::Gated => self.kill(&seen).await,
            ContainerState::Running { .. } => {
                if !grace.is_zero() && self.ask_to_end(&seen, grace).await? {
                    return Ok(());
                }
                self.kill(&seen).await
            }
        }
    }

    async fn remove(&self, id: &ContainerId) -> Result<(), EngineError> {
        match self.seen(id).await? {
            Some(seen) => self.clear(&seen).await,
            None => Ok(()),
        }
    }

    async fn exec(
        &self,
        id: &ContainerId,
        command: &[String],
        timeout: Duration,
    ) -> Result<ExecResult, EngineError> {
        self.execute(id, command, timeout).await
    }

    async fn logs(
        &self,
        id: &ContainerId,
        name: &ContainerName,
        follow: bool,
        tail: Option<u32>,
    ) -> Result<LogStream, EngineError> {
        self.output(id, name, follow, tail).await
    }

    fn events(&self) -> Pin<Box<dyn Stream<Item = ContainerEvent> + Send>> {
        events::events(self.connection.clone(), self.config.node.clone())
    }
}

/// The first process, where there is one.
fn process(seen: &Seen) -> Result<Option<Process>, EngineError> {
    Process::open(seen.pid, &seen.container.id.0).map_err(|error| stop_failed(&seen.name, &error))
}

fn proof(mount: &VerifiedMount) -> Proof {
    let path: PathBuf = mount.path.clone();
    Proof { path, device: mount.device, inode: mount.inode, read_only: mount.read_only }
}

fn conflict(container: &str, reason: &str) -> EngineError {
    EngineError::Conflict { container: container.to_owned(), reason: reason.to_owned() }
}

fn gate_failed(container: &str, error: &std::io::Error) -> EngineError {
    EngineError::Failed {
        action: format!("could not work the gate of container `{container}`"),
        reason: error.to_string(),
    }
}

/// What it means when Docker says that it could not execute the gate: there is no such file, although there is, where the
/// gate's dynamic linker is missing; permission is denied where its filesystem is mounted `noexec`.
fn not_executed(container: &str, said: &str) -> Option<EngineError> {
    let (_, why) = said.split_once(&format!("exec {FOLDER}/{PROGRAM}: ")).or_else(|| {
        // As older programs under Docker write it.
        said.split_once(&format!("exec: \"{FOLDER}/{PROGRAM}\": "))
    })?;
    let reason = format!(
        "its gate could not be executed: {why}\nhint: the gate must be a static program, as `cargo xtask build` makes it, and the state directory on a filesystem that is not mounted `noexec`"
    );
    Some(EngineError::GateRefused { container: container.to_owned(), reason })
}

fn stop_failed(container: &str, error: &std::io::Error) -> EngineError {
    EngineError::Failed {
        action: format!("could not signal container `{container}`"),
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_docker_says_of_a_gate_that_cannot_be_executed_is_recognised() {
        for said in [
            "exec /.flocker/gate: no such file or directory",
            "OCI runtime create failed: runc create failed: unable to start container process: exec: \"/.flocker/gate\": permission denied: unknown",
        ] {
            let error = not_executed("main", said).unwrap().to_string();
            assert!(error.contains("its gate could not be executed: "), "{error}");
            assert!(error.contains("\nhint: the gate must be a static program"), "{error}");
        }
        assert!(not_executed("main", "exec: \"/bin/app\": no such file or directory").is_none());
    }
}
