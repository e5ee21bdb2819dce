//! What an agent sees, as messages. *Unknown* stays unknown: an absent list is not an empty one.

use std::time::Duration;

use flocker_api::{
    convert::{Malformed, each, messages, parse, required},
    v1::{self, container_state as states, container_state::State, observation as parts},
};
use flocker_model::{ByteSize, Epoch, OperationId, Timestamp};
use flocker_ports::{
    ContainerState, LogChunk, Observation, ObservedApp, ObservedContainer, ReplicaSeen, Sent,
    StoragePlugin,
};

/// How a storage plugin stands.
const ACTIVE: &str = "active";
const FAILING: &str = "failing";

pub(crate) fn to_message(observation: &Observation) -> v1::Observation {
    v1::Observation {
        stats: Some((&observation.stats).into()),
        volumes: observation
            .volumes
            .as_ref()
            .map(|volumes| parts::Volumes { volumes: messages(volumes) }),
        apps: observation
            .apps
            .as_ref()
            .map(|apps| parts::Apps { apps: apps.iter().map(app_to_message).collect() }),
        sending: observation
            .sending
            .iter()
            .map(|(operation, bytes)| parts::Sending {
                operation: operation.to_string(),
                bytes: bytes.0,
            })
            .collect(),
        troubles: observation.troubles.clone(),
        written: observation
            .written
            .iter()
            .map(|(volume, at)| parts::Written { volume: volume.to_string(), at_ms: at.0 })
            .collect(),
        storage: observation.storage.as_ref().map(storage_to_message),
        replicas: observation.replicas.iter().map(replica_to_message).collect(),
    }
}

pub(crate) fn from_message(observation: v1::Observation) -> Result<Observation, Malformed> {
    let apps = observation.apps.map(|apps| apps.apps.into_iter().map(app_from_message).collect());
    Ok(Observation {
        stats: required("stats", observation.stats)?,
        volumes: observation.volumes.map(|volumes| each(volumes.volumes)).transpose()?,
        written: observation
            .written
            .into_iter()
            .map(|w| Ok((parse("volume", &w.volume)?, Timestamp(w.at_ms))))
            .collect::<Result<_, Malformed>>()?,
        apps: apps.transpose()?,
        sending: observation
            .sending
            .into_iter()
            .map(sending_from_message)
            .collect::<Result<_, _>>()?,
        replicas: observation
            .replicas
            .into_iter()
            .map(replica_from_message)
            .collect::<Result<_, _>>()?,
        troubles: observation.troubles,
        storage: observation.storage.map(storage_from_message),
    })
}

/// Also what operators are shown of a replica.
pub(crate) fn replica_to_message(replica: &ReplicaSeen) -> v1::ReplicaSeen {
    v1::ReplicaSeen {
        volume: replica.volume.to_string(),
        node: replica.node.to_string(),
        at: replica.at.as_ref().map(Into::into),
        behind_ms: replica.behind.map(millis),
        lacks: replica.lacks.map(|bytes| bytes.0),
        sending: replica.sending.map(|bytes| bytes.0),
        n_snapshots: replica.sent.snapshots,
        bytes: replica.sent.bytes.0,
        last_ms: replica.sent.last.map(millis),
        trouble: replica.trouble.clone(),
    }
}

fn replica_from_message(replica: v1::ReplicaSeen) -> Result<ReplicaSeen, Malformed> {
    Ok(ReplicaSeen {
        volume: parse("volume", &replica.volume)?,
        node: parse("node", &replica.node)?,
        at: replica.at.map(TryInto::try_into).transpose()?,
        behind: replica.behind_ms.map(Duration::from_millis),
        lacks: replica.lacks.map(ByteSize),
        sending: replica.sending.map(ByteSize),
        sent: Sent {
            snapshots: replica.n_snapshots,
            bytes: ByteSize(replica.bytes),
            last: replica.last_ms.map(Duration::from_millis),
        },
        trouble: replica.trouble,
    })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn storage_to_message(storage: &StoragePlugin) -> v1::StoragePlugin {
    v1::StoragePlugin {
        name: storage.name.clone(),
        version: storage.version.clone(),
        digest: storage.digest.clone(),
        state: if storage.failing { FAILING } else { ACTIVE }.to_owned(),
        trouble: storage.trouble.clone(),
        n_calls: storage.calls,
        n_failures: storage.failures,
    }
}

fn storage_from_message(storage: v1::StoragePlugin) -> StoragePlugin {
    let v1::StoragePlugin { name, version, digest, state, trouble, n_calls, n_failures } = storage;
    let (failing, calls, failures) = (state == FAILING, n_calls, n_failures);
    StoragePlugin { name, version, digest, failing, trouble, calls, failures }
}

fn sending_from_message(sending: parts::Sending) -> Result<(OperationId, ByteSize), Malformed> {
    Ok((parse("operation", &sending.operation)?, ByteSize(sending.bytes)))
}

fn app_to_message(app: &ObservedApp) -> v1::ObservedApp {
    v1::ObservedApp {
        app: app.app.to_string(),
        epoch: app.epoch.0,
        kept: app.kept,
        containers: app.containers.iter().map(container_to_message).collect(),
    }
}

fn app_from_message(app: v1::ObservedApp) -> Result<ObservedApp, Malformed> {
    Ok(ObservedApp {
        app: parse("app", &app.app)?,
        epoch: Epoch(app.epoch),
        kept: app.kept,
        containers: app
            .containers
            .into_iter()
            .map(container_from_message)
            .collect::<Result<_, _>>()?,
    })
}

/// Also what operators are shown of a container.
pub(crate) fn container_to_message(container: &ObservedContainer) -> v1::ObservedContainer {
    v1::ObservedContainer {
        name: container.name.to_string(),
        state: Some(state_to_message(&container.state)),
        healthy: container.healthy,
        restarts: container.restarts,
        restart_at_ms: container.restart_at.map(|at| at.0),
    }
}

fn container_from_message(
    container: v1::ObservedContainer,
) -> Result<ObservedContainer, Malformed> {
    Ok(ObservedContainer {
        name: parse("name", &container.name)?,
        state: state_from_message(container.state)?,
        healthy: container.healthy,
        restarts: container.restarts,
        restart_at: container.restart_at_ms.map(Timestamp),
    })
}

fn state_to_message(state: &ContainerState) -> v1::ContainerState {
    let state = match state {
        ContainerState::Created => State::Created(states::Created {}),
        ContainerState::Gated => State::Gated(states::Gated {}),
        ContainerState::Running { since } => State::Running(states::Running { since_ms: since.0 }),
        ContainerState::Exited { status, at, out_of_memory } => State::Exited(states::Exited {
            status: *status,
            at_ms: at.0,
            out_of_memory: *out_of_memory,
        }),
    };
    v1::ContainerState { state: Some(state) }
}

fn state_from_message(state: Option<v1::ContainerState>) -> Result<ContainerState, Malformed> {
    Ok(match state.and_then(|state| state.state).ok_or(Malformed::missing("state"))? {
        State::Created(states::Created {}) => ContainerState::Created,
        State::Gated(states::Gated {}) => ContainerState::Gated,
        State::Running(running) => ContainerState::Running { since: Timestamp(running.since_ms) },
        State::Exited(exited) => ContainerState::Exited {
            status: exited.status,
            at: Timestamp(exited.at_ms),
            out_of_memory: exited.out_of_memory,
        },
    })
}

pub(crate) fn chunk_to_message(chunk: LogChunk) -> v1::LogChunk {
    v1::LogChunk {
        container: chunk.container.to_string(),
        stderr: chunk.stderr,
        bytes: chunk.bytes,
    }
}

pub(crate) fn chunk_from_message(chunk: v1::LogChunk) -> Result<LogChunk, Malformed> {
    Ok(LogChunk {
        container: parse("container", &chunk.container)?,
        stderr: chunk.stderr,
        bytes: chunk.bytes,
    })
}
