//! How a container stands: what Docker says of it, corrected by what the kernel says.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::Duration,
};

use bollard::{
    models::{
        ContainerInspectResponse, ContainerState as DockerState, ContainerStateStatusEnum as Status,
    },
    query_parameters::ListContainersOptions,
};
use flocker_gate::FOLDER;
use flocker_model::Timestamp;
use flocker_ports::{Container, ContainerId, ContainerState, EngineError};
use tokio::time::{Instant, sleep};

use crate::{
    DockerEngine,
    connection::is_status,
    gate::Standing,
    labels::{self, Identity},
};

/// How long Docker may take to notice that a process has ended. Past that its own helper hangs, and it may never notice.
const NOTICE: Duration = Duration::from_secs(10);

/// What a process ended with of which Docker never said it: not 0, for nobody may take its work for done.
const STATUS_UNKNOWN: i64 = 255;

/// Time between two questions while it has not.
const LOOK: Duration = Duration::from_millis(3);

/// A container of ours, and what is needed to work on it.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) container: Container,
    /// What Docker and the gates' folder call it.
    pub(crate) name: String,
    /// Its first process, while it is started.
    pub(crate) pid: i32,
    /// Whether somebody froze it: its processes are there, and do nothing.
    pub(crate) paused: bool,
    /// Tells one start from the next.
    pub(crate) started: String,
    /// What its image wants to be stopped with.
    pub(crate) stop_signal: String,
    /// Where the app's command runs.
    pub(crate) folder: Option<String>,
    /// Where volumes must be mounted.
    pub(crate) mounts: Vec<PathBuf>,
}

impl DockerEngine {
    /// Looks at one container; `None` when it is gone. One that is not ours does not exist.
    pub(crate) async fn seen(&self, id: &ContainerId) -> Result<Option<Seen>, EngineError> {
        let docker = self.connection.docker().await?;
        let deadline = Instant::now() + NOTICE;
        loop {
            let answer = match docker.inspect_container(&id.0, None).await {
                Ok(answer) => answer,
                Err(error) if is_status(&error, 404) => return Ok(None),
                Err(error) => {
                    return Err(self
                        .connection
                        .error(format!("look at container `{}`", id.0), error));
                }
            };
            if let Some(seen) = self.read(id, answer, Instant::now() >= deadline)? {
                return Ok(Some(seen));
            }
            sleep(LOOK).await;
        }
    }

    /// The same for a container that must exist.
    pub(crate) async fn existing(&self, id: &ContainerId) -> Result<Seen, EngineError> {
        self.seen(id).await?.ok_or_else(|| EngineError::NoSuchContainer(id.0.clone()))
    }

    /// Every container of this node.
    pub(crate) async fn all(&self) -> Result<Vec<Seen>, EngineError> {
        let docker = self.connection.docker().await?;
        let filters = Some(labels::filter(&self.config.node));
        let options =
            ListContainersOptions { all: true, filters, ..ListContainersOptions::default() };
        let listed = docker.list_containers(Some(options)).await;
        let listed = listed.map_err(|error| self.connection.error("list the containers", error))?;
        let ours = listed
            .into_iter()
            .filter(|summary| self.identity(summary.labels.as_ref()).is_some())
            .filter_map(|summary| summary.id);
        let seen =
            futures::future::try_join_all(ours.map(async |id| self.seen(&ContainerId(id)).await))
                .await?;
        Ok(seen.into_iter().flatten().collect())
    }

    fn identity(&self, labels: Option<&HashMap<String, String>>) -> Option<Identity> {
        Identity::read(labels?, &self.config.node)
    }

    /// `None` while Docker has not noticed yet that the container ended, unless that is `overdue`: one container that
    /// hangs must not hide how all the others stand.
    fn read(
        &self,
        id: &ContainerId,
        answer: ContainerInspectResponse,
        overdue: bool,
    ) -> Result<Option<Seen>, EngineError> {
        let config = answer.config.unwrap_or_default();
        let Some(identity) = self.identity(config.labels.as_ref()) else {
            return Err(EngineError::NoSuchContainer(id.0.clone()));
        };
        let docker = answer.state.unwrap_or_default();
        let name = answer.name.unwrap_or_default().trim_start_matches('/').to_owned();
        let pid = docker.pid.and_then(|pid| i32::try_from(pid).ok()).unwrap_or_default();
        let started = docker.started_at.clone().unwrap_or_default();
        let state = match self.state(&name, pid, &started, &docker)? {
            Some(state) => state,
            None if overdue => exited(&docker, STATUS_UNKNOWN),
            None => return Ok(None),
        };
        let networks =
            answer.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
        let endpoint = networks.get(&labels::network(&self.config.node));
        let mounts = answer.host_config.and_then(|host| host.mounts).unwrap_or_default();
        let targets = mounts.into_iter().filter_map(|mount| mount.target).map(PathBuf::from);
        Ok(Some(Seen {
            container: Container {
                id: ContainerId(answer.id.unwrap_or_else(|| id.0.clone())),
                app: identity.app,
                name: identity.name,
                epoch: identity.epoch,
                digest: identity.digest,
                state,
                address: endpoint.and_then(|endpoint| endpoint.ip_address.as_ref()?.parse().ok()),
            },
            name,
            pid,
            paused: docker.paused.unwrap_or_default(),
            started,
            stop_signal: config.stop_signal.unwrap_or_default(),
            folder: config.entrypoint.and_then(|line| line.get(1).cloned()),
            mounts: targets.filter(|target| target != Path::new(FOLDER)).collect(),
        }))
    }

    fn state(
        &self,
        name: &str,
        pid: i32,
        started: &str,
        docker: &DockerState,
    ) -> Result<Option<ContainerState>, EngineError> {
        match docker.status.unwrap_or(Status::EMPTY) {
            Status::EMPTY | Status::CREATED => Ok(Some(ContainerState::Created)),
            Status::EXITED | Status::DEAD | Status::REMOVING => {
                Ok(Some(exited(docker, docker.exit_code.unwrap_or_default())))
            }
            Status::RUNNING | Status::PAUSED | Status::RESTARTING | Status::STOPPING => {
                let standing = self.gates.standing(name, pid, started);
                let standing = standing.map_err(|error| EngineError::Failed {
                    action: format!("could not look at the process of container `{name}`"),
                    reason: error.to_string(),
                })?;
                Ok(match standing {
                    Standing::Waiting => Some(ContainerState::Gated),
                    Standing::Passed => Some(ContainerState::Running { since: timestamp(started) }),
                    Standing::Ended => None,
                })
            }
        }
    }
}

fn exited(docker: &DockerState, status: i64) -> ContainerState {
    ContainerState::Exited {
        status,
        at: timestamp(docker.finished_at.as_deref().unwrap_or_default()),
        out_of_memory: docker.oom_killed.unwrap_or_default(),
    }
}

/// A time as Docker writes it; its zero time lies before ours.
fn timestamp(text: &str) -> Timestamp {
    let time = humantime::parse_rfc3339(text).unwrap_or(std::time::UNIX_EPOCH);
    let since = time.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_docker_writes_them() {
        assert_eq!(timestamp("2026-11-22T09:35:44.337395831Z"), Timestamp(1_795_340_144_337));
        assert_eq!(timestamp("0001-01-01T00:00:00Z"), Timestamp(0));
        assert_eq!(timestamp(""), Timestamp(0));
    }
}
