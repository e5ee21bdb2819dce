//! What operators ask about volumes, from its messages, and what they are told.

use flocker_api::{
    convert::{parse, parse_option, required},
    v1,
};
use flocker_engine::control::{Control, Copy};
use flocker_model::Volume;
use tonic::Status;

use super::control::{invalid, refused};

pub(super) async fn create(
    control: &Control,
    request: v1::CreateVolumeRequest,
) -> Result<Volume, Status> {
    let name = parse("name", &request.name).map_err(invalid)?;
    let node = parse_option("node", request.node.as_deref()).map_err(invalid)?;
    let ownership = request.ownership.map(Into::into);
    let options = required("options", request.options).map_err(invalid)?;
    control.create_volume(&name, options, ownership, node.as_ref()).await.map_err(refused)
}

pub(super) async fn clone(
    control: &Control,
    request: v1::CloneVolumeRequest,
) -> Result<Volume, Status> {
    let source = parse("source", &request.source).map_err(invalid)?;
    let name = parse("name", &request.name).map_err(invalid)?;
    let at = parse_option("snapshot", request.snapshot.as_deref()).map_err(invalid)?;
    control.clone_volume(&source, at.as_ref(), &name).await.map_err(refused)
}

pub(super) async fn rollback(
    control: &Control,
    request: v1::RollbackVolumeRequest,
) -> Result<Volume, Status> {
    let name = parse("name", &request.name).map_err(invalid)?;
    let to = parse("snapshot", &request.snapshot).map_err(invalid)?;
    control.rollback_volume(&name, &to).await.map_err(refused)
}

pub(super) fn inspected(volume: &Volume, copies: &[Copy]) -> v1::InspectVolumeReply {
    let copy = |copy: &Copy| v1::VolumeCopy {
        node: copy.node.to_string(),
        state: Some((&copy.state).into()),
        newest: copy.newest.as_ref().map(Into::into),
    };
    v1::InspectVolumeReply {
        volume: Some(volume.into()),
        copies: copies.iter().map(copy).collect(),
    }
}
