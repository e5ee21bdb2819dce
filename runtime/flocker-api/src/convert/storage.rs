//! Snapshots, roles and volumes on one node.

use flocker_model::{
    ByteSize, Epoch, Guid, Point, RecordSize, Role, Snapshot, Timestamp, VolumeOptions, VolumeState,
};

use super::{Malformed, parse, parse_option, required};
use crate::v1;

impl From<&Point> for v1::Point {
    fn from(point: &Point) -> Self {
        Self { tag: point.tag.to_string(), guid: point.guid.to_string() }
    }
}

impl TryFrom<v1::Point> for Point {
    type Error = Malformed;
    fn try_from(point: v1::Point) -> Result<Self, Malformed> {
        Ok(Self { tag: parse("tag", &point.tag)?, guid: Guid(point.guid) })
    }
}

impl From<&Snapshot> for v1::Snapshot {
    fn from(snapshot: &Snapshot) -> Self {
        Self {
            point: Some((&snapshot.point).into()),
            taken_ms: snapshot.taken.0,
            referenced: snapshot.referenced.0,
        }
    }
}

impl TryFrom<v1::Snapshot> for Snapshot {
    type Error = Malformed;
    fn try_from(snapshot: v1::Snapshot) -> Result<Self, Malformed> {
        Ok(Self {
            point: required("point", snapshot.point)?,
            taken: Timestamp(snapshot.taken_ms),
            referenced: ByteSize(snapshot.referenced),
        })
    }
}

impl From<&VolumeOptions> for v1::VolumeOptions {
    fn from(options: &VolumeOptions) -> Self {
        Self {
            size: options.size.0,
            record_size: options.record_size.map(RecordSize::bytes),
            compression: options.compression.map(|how| how.to_string()),
            reserved: options.reserved,
            secret: options.secret.as_ref().map(ToString::to_string),
        }
    }
}

impl TryFrom<v1::VolumeOptions> for VolumeOptions {
    type Error = Malformed;
    fn try_from(options: v1::VolumeOptions) -> Result<Self, Malformed> {
        let record_size = options.record_size.map(|bytes| RecordSize::new(ByteSize(bytes)));
        Ok(Self {
            size: ByteSize(options.size),
            record_size: record_size
                .transpose()
                .map_err(|error| Malformed::invalid("record_size", error))?,
            compression: parse_option("compression", options.compression.as_deref())?,
            reserved: options.reserved,
            secret: parse_option("secret", options.secret.as_deref())?,
        })
    }
}

impl From<Role> for v1::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Live => Self::Live,
            Role::Sealed => Self::Sealed,
            Role::Replica => Self::Replica,
        }
    }
}

impl TryFrom<v1::Role> for Role {
    type Error = Malformed;
    fn try_from(role: v1::Role) -> Result<Self, Malformed> {
        match role {
            v1::Role::Live => Ok(Self::Live),
            v1::Role::Sealed => Ok(Self::Sealed),
            v1::Role::Replica => Ok(Self::Replica),
            v1::Role::Unspecified => Err(Malformed::missing("role")),
        }
    }
}

impl From<&VolumeState> for v1::VolumeState {
    fn from(volume: &VolumeState) -> Self {
        Self {
            id: volume.id.to_string(),
            role: v1::Role::from(volume.role).into(),
            epoch: volume.epoch.0,
            size: volume.size.0,
            used: volume.used.0,
        }
    }
}

impl TryFrom<v1::VolumeState> for VolumeState {
    type Error = Malformed;
    fn try_from(volume: v1::VolumeState) -> Result<Self, Malformed> {
        Ok(Self {
            role: volume.role().try_into()?,
            id: parse("id", &volume.id)?,
            epoch: Epoch(volume.epoch),
            size: ByteSize(volume.size),
            used: ByteSize(volume.used),
        })
    }
}
