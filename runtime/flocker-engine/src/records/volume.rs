//! A volume as it is stored.

use std::{collections::BTreeSet, time::Duration};

use flocker_model::{
    ByteSize, Epoch, Guid, InvalidQuantity, NodeName, Rates, RecordSize, Replica, Replication,
    Timestamp, Volume, VolumeOptions,
};
use serde::{Deserialize, Serialize};

use super::{millis, name, optional};

#[derive(Serialize, Deserialize)]
pub(super) struct StoredVolume {
    id: String,
    name: String,
    app: Option<String>,
    owner: Option<String>,
    epoch: u64,
    #[serde(flatten)]
    options: StoredOptions,
    ownership: Option<(u32, u32)>,
    replicas: Vec<StoredReplica>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replication: Option<StoredReplication>,
}

/// What was added since is left out where nothing was chosen.
#[derive(Serialize, Deserialize)]
struct StoredOptions {
    size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    record_size: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    compression: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    reserved: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

impl From<&VolumeOptions> for StoredOptions {
    fn from(o: &VolumeOptions) -> Self {
        Self {
            size: o.size.0,
            record_size: o.record_size.map(RecordSize::bytes),
            compression: o.compression.map(|how| how.to_string()),
            reserved: o.reserved,
            secret: o.secret.as_ref().map(ToString::to_string),
        }
    }
}

impl StoredOptions {
    fn into_model(self) -> Result<VolumeOptions, String> {
        let quantity = |error: InvalidQuantity| error.to_string();
        let record_size = self.record_size.map(|bytes| RecordSize::new(ByteSize(bytes)));
        Ok(VolumeOptions {
            size: ByteSize(self.size),
            record_size: record_size.transpose().map_err(quantity)?,
            compression: self.compression.map(|how| how.parse()).transpose().map_err(quantity)?,
            reserved: self.reserved,
            secret: optional(self.secret)?,
        })
    }
}

#[derive(Serialize, Deserialize)]
struct StoredReplication {
    named: BTreeSet<String>,
    copies: u32,
    chosen: BTreeSet<String>,
    every_ms: u64,
    /// As it was before there were windows.
    #[serde(default, skip_serializing)]
    rate: Option<u64>,
    #[serde(default)]
    rates: Option<String>,
}

impl From<&Replication> for StoredReplication {
    fn from(r: &Replication) -> Self {
        let names = |nodes: &BTreeSet<NodeName>| nodes.iter().map(ToString::to_string).collect();
        Self {
            named: names(&r.named),
            copies: r.copies,
            chosen: names(&r.chosen),
            every_ms: millis(r.every),
            rate: None,
            rates: (r.rates != Rates::default()).then(|| r.rates.to_string()),
        }
    }
}

impl StoredReplication {
    fn into_model(self) -> Result<Replication, String> {
        let names = |nodes: BTreeSet<String>| {
            nodes.into_iter().map(name::<NodeName>).collect::<Result<BTreeSet<_>, _>>()
        };
        Ok(Replication {
            named: names(self.named)?,
            copies: self.copies,
            chosen: names(self.chosen)?,
            every: Duration::from_millis(self.every_ms),
            rates: match self.rates {
                Some(rates) => rates.parse().map_err(|error: InvalidQuantity| error.to_string())?,
                None => Rates { otherwise: self.rate.map(ByteSize), windows: vec![] },
            },
        })
    }
}

#[derive(Serialize, Deserialize)]
struct StoredReplica {
    node: String,
    tag: String,
    guid: String,
    #[serde(default)]
    taken_ms: Option<u64>,
}

impl From<&Volume> for StoredVolume {
    fn from(v: &Volume) -> Self {
        let replica = |r: &Replica| StoredReplica {
            node: r.node.to_string(),
            tag: r.tag.to_string(),
            guid: r.guid.to_string(),
            taken_ms: r.taken.map(|at| at.0),
        };
        Self {
            id: v.id.to_string(),
            name: v.name.to_string(),
            app: v.app.as_ref().map(ToString::to_string),
            owner: v.owner.as_ref().map(ToString::to_string),
            epoch: v.epoch.0,
            options: (&v.options).into(),
            ownership: v.ownership,
            replicas: v.replicas.iter().map(replica).collect(),
            replication: v.replication.as_ref().map(Into::into),
        }
    }
}

impl StoredVolume {
    pub(super) fn into_model(self) -> Result<Volume, String> {
        let replica = |r: StoredReplica| {
            Ok::<_, String>(Replica {
                node: name(r.node)?,
                tag: name(r.tag)?,
                guid: Guid(r.guid),
                taken: r.taken_ms.map(Timestamp),
            })
        };
        Ok(Volume {
            id: name(self.id)?,
            name: name(self.name)?,
            app: optional(self.app)?,
            owner: optional(self.owner)?,
            epoch: Epoch(self.epoch),
            options: self.options.into_model()?,
            ownership: self.ownership,
            replicas: self.replicas.into_iter().map(replica).collect::<Result<_, _>>()?,
            replication: self.replication.map(StoredReplication::into_model).transpose()?,
        })
    }
}
