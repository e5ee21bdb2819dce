//! The words of the product as types: what a node, an app, a volume, a route and an operation are.
//!
//! Nothing here does I/O, waits, reads a clock or knows how it is stored or sent; those are the borders' business.

mod app;
mod cluster;
mod ids;
mod operation;
mod options;
mod quantity;
mod rates;
mod route;
mod storage;

pub use app::{
    App, Condition, ContainerSpec, Dependency, Healthcheck, Link, LinkTarget, Mount,
    PlacementRules, Restart, Service, VolumeSource, VolumeSpec,
};
pub use cluster::{
    AppRecord, AppState, Capacity, Left, Leftover, Node, NodeStats, Replica, Replication, Volume,
};
pub use ids::{
    AppName, ContainerName, Epoch, InvalidName, NodeName, OperationId, Revision, SecretName,
    ServiceName, SnapshotTag, StreamKey, VolumeId, VolumeName,
};
pub use operation::{
    MoveReport, Operation, OperationKind, OperationState, Phase, PhaseReport, Purpose, Round,
    Transfer,
};
pub use options::{Compression, Profile, RecordSize, VolumeOptions};
pub use quantity::{ByteSize, CpuMillis, InvalidQuantity, Timestamp};
pub use rates::{RateWindow, Rates};
pub use route::{Route, RouteTable, ServiceKey, ServiceRoute};
pub use storage::{Guid, Point, Role, Snapshot, VolumeState};
