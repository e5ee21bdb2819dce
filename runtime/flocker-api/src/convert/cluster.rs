//! Nodes, apps and volumes as the store remembers them.

use std::{collections::BTreeSet, time::Duration};

use flocker_model::{
    AppRecord, AppState, ByteSize, Capacity, CpuMillis, Epoch, Guid, Node, NodeName, NodeStats,
    Replica, Replication, Timestamp, Volume,
};

use super::{Malformed, each, messages, parse, parse_option, required};
use crate::v1;

impl From<&Node> for v1::Node {
    fn from(node: &Node) -> Self {
        Self {
            name: node.name.to_string(),
            api: node.api.to_string(),
            mesh: node.mesh.to_string(),
            replication: node.replication.to_string(),
            labels: node.labels.clone(),
            draining: node.draining,
            identity: node.identity.clone(),
            configured: node.configured.iter().cloned().collect(),
            stream_key: node.stream_key.map(|key| key.to_string()),
        }
    }
}

impl TryFrom<v1::Node> for Node {
    type Error = Malformed;
    fn try_from(node: v1::Node) -> Result<Self, Malformed> {
        Ok(Self {
            name: parse("name", &node.name)?,
            api: parse("api", &node.api)?,
            mesh: parse("mesh", &node.mesh)?,
            replication: parse("replication", &node.replication)?,
            labels: node.labels,
            configured: node.configured.into_iter().collect(),
            draining: node.draining,
            identity: node.identity,
            stream_key: parse_option("stream_key", node.stream_key.as_deref())?,
        })
    }
}

impl From<Capacity> for v1::Capacity {
    fn from(capacity: Capacity) -> Self {
        Self { total: capacity.total.0, free: capacity.free.0 }
    }
}

impl From<v1::Capacity> for Capacity {
    fn from(capacity: v1::Capacity) -> Self {
        Self { total: ByteSize(capacity.total), free: ByteSize(capacity.free) }
    }
}

impl From<&NodeStats> for v1::NodeStats {
    fn from(stats: &NodeStats) -> Self {
        Self {
            memory: Some(stats.memory.into()),
            cpu_millis: stats.cpu.0,
            pool: Some(stats.pool.into()),
            streams: stats.streams.clone(),
            load_millis: stats.load_millis,
            at_ms: stats.at.0,
        }
    }
}

impl TryFrom<v1::NodeStats> for NodeStats {
    type Error = Malformed;
    fn try_from(stats: v1::NodeStats) -> Result<Self, Malformed> {
        Ok(Self {
            memory: required("memory", stats.memory)?,
            cpu: CpuMillis(stats.cpu_millis),
            pool: required("pool", stats.pool)?,
            streams: stats.streams,
            load_millis: stats.load_millis,
            at: Timestamp(stats.at_ms),
        })
    }
}

impl From<&AppRecord> for v1::AppRecord {
    fn from(app: &AppRecord) -> Self {
        Self {
            name: app.name.to_string(),
            manifest: app.manifest.clone(),
            owner: app.owner.as_ref().map(ToString::to_string),
            epoch: app.epoch.0,
            state: v1::AppState::from(app.state).into(),
            operation: app.operation.as_ref().map(ToString::to_string),
            placed_ms: app.placed.0,
        }
    }
}

impl TryFrom<v1::AppRecord> for AppRecord {
    type Error = Malformed;
    fn try_from(app: v1::AppRecord) -> Result<Self, Malformed> {
        Ok(Self {
            state: app.state().try_into()?,
            name: parse("name", &app.name)?,
            manifest: app.manifest,
            owner: parse_option("owner", app.owner.as_deref())?,
            epoch: Epoch(app.epoch),
            operation: parse_option("operation", app.operation.as_deref())?,
            placed: Timestamp(app.placed_ms),
        })
    }
}

impl From<AppState> for v1::AppState {
    fn from(state: AppState) -> Self {
        match state {
            AppState::Deployed => Self::Deployed,
            AppState::Removing => Self::Removing,
        }
    }
}

impl TryFrom<v1::AppState> for AppState {
    type Error = Malformed;
    fn try_from(state: v1::AppState) -> Result<Self, Malformed> {
        match state {
            v1::AppState::Deployed => Ok(Self::Deployed),
            v1::AppState::Removing => Ok(Self::Removing),
            v1::AppState::Unspecified => Err(Malformed::missing("state")),
        }
    }
}

impl From<&Volume> for v1::Volume {
    fn from(volume: &Volume) -> Self {
        Self {
            id: volume.id.to_string(),
            name: volume.name.to_string(),
            app: volume.app.as_ref().map(ToString::to_string),
            owner: volume.owner.as_ref().map(ToString::to_string),
            epoch: volume.epoch.0,
            options: Some((&volume.options).into()),
            ownership: volume.ownership.map(Into::into),
            replicas: messages(&volume.replicas),
            replication: volume.replication.as_ref().map(Into::into),
        }
    }
}

impl TryFrom<v1::Volume> for Volume {
    type Error = Malformed;
    fn try_from(volume: v1::Volume) -> Result<Self, Malformed> {
        Ok(Self {
            id: parse("id", &volume.id)?,
            name: parse("name", &volume.name)?,
            app: parse_option("app", volume.app.as_deref())?,
            owner: parse_option("owner", volume.owner.as_deref())?,
            epoch: Epoch(volume.epoch),
            options: required("options", volume.options)?,
            ownership: volume.ownership.map(Into::into),
            replicas: each(volume.replicas)?,
            replication: volume.replication.map(TryInto::try_into).transpose()?,
        })
    }
}

impl From<&Replication> for v1::Replication {
    fn from(replication: &Replication) -> Self {
        let names = |nodes: &BTreeSet<NodeName>| nodes.iter().map(ToString::to_string).collect();
        Self {
            named: names(&replication.named),
            copies: replication.copies,
            chosen: names(&replication.chosen),
            every_ms: u64::try_from(replication.every.as_millis()).unwrap_or(u64::MAX),
            rates: replication.rates.to_string(),
        }
    }
}

impl TryFrom<v1::Replication> for Replication {
    type Error = Malformed;
    fn try_from(replication: v1::Replication) -> Result<Self, Malformed> {
        let names = |field, nodes: Vec<String>| {
            nodes.iter().map(|node| parse(field, node)).collect::<Result<BTreeSet<_>, _>>()
        };
        Ok(Self {
            named: names("named", replication.named)?,
            copies: replication.copies,
            chosen: names("chosen", replication.chosen)?,
            every: Duration::from_millis(replication.every_ms),
            rates: parse("rates", &replication.rates)?,
        })
    }
}

impl From<(u32, u32)> for v1::Ownership {
    fn from((user, group): (u32, u32)) -> Self {
        Self { user, group }
    }
}

impl From<v1::Ownership> for (u32, u32) {
    fn from(ownership: v1::Ownership) -> Self {
        (ownership.user, ownership.group)
    }
}

impl From<&Replica> for v1::Replica {
    fn from(replica: &Replica) -> Self {
        Self {
            node: replica.node.to_string(),
            tag: replica.tag.to_string(),
            guid: replica.guid.to_string(),
            taken_ms: replica.taken.map(|at| at.0),
        }
    }
}

impl TryFrom<v1::Replica> for Replica {
    type Error = Malformed;
    fn try_from(replica: v1::Replica) -> Result<Self, Malformed> {
        Ok(Self {
            node: parse("node", &replica.node)?,
            tag: parse("tag", &replica.tag)?,
            guid: Guid(replica.guid),
            taken: replica.taken_ms.map(Timestamp),
        })
    }
}
