//! Orders and replies as messages.

use flocker_api::{
    convert::{Malformed, each, messages, parse, required},
    v1::{
        self, reply as replies, reply::Reply as ReplyMessage, step as steps,
        step::Step as StepMessage,
    },
};
use flocker_model::{Epoch, Point, Revision};
use flocker_ports::{AttachOrder, Order, Reply, Step, VolumeEpoch, VolumeOrder};

pub(crate) fn to_message(order: &Order) -> v1::Order {
    v1::Order {
        operation: order.operation.to_string(),
        app: order.app.to_string(),
        epoch: order.epoch.0,
        revision: order.revision.0,
        step: Some(v1::Step { step: Some(step_to_message(&order.step)) }),
    }
}

pub(crate) fn from_message(order: v1::Order) -> Result<Order, Malformed> {
    let step = order.step.and_then(|step| step.step).ok_or(Malformed::missing("step"))?;
    Ok(Order {
        operation: parse("operation", &order.operation)?,
        app: parse("app", &order.app)?,
        epoch: Epoch(order.epoch),
        revision: Revision(order.revision),
        step: step_from_message(step)?,
    })
}

fn step_to_message(step: &Step) -> StepMessage {
    match step {
        Step::CreateVolumes { volumes } => StepMessage::CreateVolumes(steps::CreateVolumes {
            volumes: volumes.iter().map(volume_order).collect(),
        }),
        Step::Clone { source, at, volume } => StepMessage::Clone(steps::Clone {
            source: source.to_string(),
            at: Some(at.into()),
            volume: Some(epoch(volume)),
        }),
        Step::Rollback { volume, to, kept } => StepMessage::Rollback(steps::Rollback {
            volume: Some(epoch(volume)),
            to: Some(to.into()),
            kept: kept.to_string(),
        }),
        Step::Snapshot { volumes, tag } => StepMessage::Snapshot(steps::TakeSnapshot {
            volumes: epochs(volumes).volumes,
            tag: tag.to_string(),
        }),
        Step::ListSnapshots { volume } => {
            StepMessage::ListSnapshots(steps::ListSnapshots { volume: Some(epoch(volume)) })
        }
        Step::Send { volume, options, base, to, target, address } => {
            StepMessage::Send(steps::Send {
                volume: Some(epoch(volume)),
                options: Some(options.into()),
                base: base.as_ref().map(Into::into),
                to: Some(to.into()),
                target: target.to_string(),
                address: address.to_string(),
            })
        }
        Step::AbortReceive { volumes } => StepMessage::AbortReceive(epochs(volumes)),
        Step::Fetch { manifest } => {
            StepMessage::Fetch(steps::Prepare { manifest: manifest.clone() })
        }
        Step::Prepare { manifest } => {
            StepMessage::Prepare(steps::Prepare { manifest: manifest.clone() })
        }
        Step::Discard => StepMessage::Discard(steps::Discard {}),
        Step::AwaitRoutes { revision } => {
            StepMessage::AwaitRoutes(steps::AwaitRoutes { revision: revision.0 })
        }
        Step::Stop => StepMessage::Stop(steps::Stop {}),
        Step::Seal { volumes } => StepMessage::Seal(epochs(volumes)),
        Step::Unseal { volumes } => StepMessage::Unseal(epochs(volumes)),
        Step::Promote { volumes } => StepMessage::Promote(points(volumes)),
        Step::Start { manifest, volumes } => StepMessage::Start(steps::Start {
            manifest: manifest.clone(),
            volumes: volumes.iter().map(attach_order).collect(),
        }),
        Step::Retire { volumes } => StepMessage::Retire(points(volumes)),
        Step::Remove => StepMessage::Remove(steps::Remove {}),
        Step::DestroyVolumes { volumes } => StepMessage::DestroyVolumes(epochs(volumes)),
        Step::DestroyReplicas { volumes } => StepMessage::DestroyReplicas(epochs(volumes)),
        Step::DestroySnapshots { volume, which } => {
            StepMessage::DestroySnapshots(steps::DestroySnapshots {
                volume: Some(epoch(volume)),
                which: messages(which),
            })
        }
    }
}

fn step_from_message(step: StepMessage) -> Result<Step, Malformed> {
    Ok(match step {
        StepMessage::CreateVolumes(step) => {
            Step::CreateVolumes { volumes: all(step.volumes, volume_order_from_message)? }
        }
        StepMessage::Clone(step) => Step::Clone {
            source: parse("source", &step.source)?,
            at: required("at", step.at)?,
            volume: epoch_required(step.volume)?,
        },
        StepMessage::Rollback(step) => Step::Rollback {
            volume: epoch_required(step.volume)?,
            to: required("to", step.to)?,
            kept: parse("kept", &step.kept)?,
        },
        StepMessage::Snapshot(step) => Step::Snapshot {
            volumes: all(step.volumes, epoch_from_message)?,
            tag: parse("tag", &step.tag)?,
        },
        StepMessage::ListSnapshots(step) => {
            Step::ListSnapshots { volume: epoch_required(step.volume)? }
        }
        StepMessage::Send(step) => Step::Send {
            volume: epoch_required(step.volume)?,
            options: required("options", step.options)?,
            base: point_option(step.base)?,
            to: required("to", step.to)?,
            target: parse("target", &step.target)?,
            address: parse("address", &step.address)?,
        },
        StepMessage::AbortReceive(step) => {
            Step::AbortReceive { volumes: all(step.volumes, epoch_from_message)? }
        }
        StepMessage::Fetch(step) => Step::Fetch { manifest: step.manifest },
        StepMessage::Prepare(step) => Step::Prepare { manifest: step.manifest },
        StepMessage::Discard(steps::Discard {}) => Step::Discard,
        StepMessage::AwaitRoutes(step) => Step::AwaitRoutes { revision: Revision(step.revision) },
        StepMessage::Stop(steps::Stop {}) => Step::Stop,
        StepMessage::Seal(step) => Step::Seal { volumes: all(step.volumes, epoch_from_message)? },
        StepMessage::Unseal(step) => {
            Step::Unseal { volumes: all(step.volumes, epoch_from_message)? }
        }
        StepMessage::Promote(step) => {
            Step::Promote { volumes: all(step.volumes, point_from_message)? }
        }
        StepMessage::Start(step) => Step::Start {
            manifest: step.manifest,
            volumes: all(step.volumes, attach_order_from_message)?,
        },
        StepMessage::Retire(step) => {
            Step::Retire { volumes: all(step.volumes, point_from_message)? }
        }
        StepMessage::Remove(steps::Remove {}) => Step::Remove,
        StepMessage::DestroyVolumes(step) => {
            Step::DestroyVolumes { volumes: all(step.volumes, epoch_from_message)? }
        }
        StepMessage::DestroyReplicas(step) => {
            Step::DestroyReplicas { volumes: all(step.volumes, epoch_from_message)? }
        }
        StepMessage::DestroySnapshots(step) => Step::DestroySnapshots {
            volume: epoch_required(step.volume)?,
            which: each(step.which)?,
        },
    })
}

pub(crate) fn reply_to_message(reply: &Reply) -> v1::Reply {
    let reply = match reply {
        Reply::Done => ReplyMessage::Done(replies::Done {}),
        Reply::Snapshots(snapshots) => {
            ReplyMessage::Snapshots(replies::Snapshots { snapshots: messages(snapshots) })
        }
        Reply::Sent(transfer) => ReplyMessage::Sent((*transfer).into()),
    };
    v1::Reply { reply: Some(reply) }
}

pub(crate) fn reply_from_message(reply: v1::Reply) -> Result<Reply, Malformed> {
    Ok(match reply.reply.ok_or(Malformed::missing("reply"))? {
        ReplyMessage::Done(replies::Done {}) => Reply::Done,
        ReplyMessage::Snapshots(reply) => Reply::Snapshots(each(reply.snapshots)?),
        ReplyMessage::Sent(transfer) => Reply::Sent(transfer.into()),
    })
}

fn all<M, T>(
    list: Vec<M>,
    from_message: fn(M) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    list.into_iter().map(from_message).collect()
}

fn epoch(volume: &VolumeEpoch) -> v1::VolumeEpoch {
    v1::VolumeEpoch { id: volume.id.to_string(), epoch: volume.epoch.0 }
}

fn epochs(volumes: &[VolumeEpoch]) -> steps::VolumeEpochs {
    steps::VolumeEpochs { volumes: volumes.iter().map(epoch).collect() }
}

fn epoch_from_message(volume: v1::VolumeEpoch) -> Result<VolumeEpoch, Malformed> {
    Ok(VolumeEpoch { id: parse("id", &volume.id)?, epoch: Epoch(volume.epoch) })
}

fn epoch_required(volume: Option<v1::VolumeEpoch>) -> Result<VolumeEpoch, Malformed> {
    epoch_from_message(volume.ok_or(Malformed::missing("volume"))?)
}

fn point_option(point: Option<v1::Point>) -> Result<Option<Point>, Malformed> {
    point.map(TryInto::try_into).transpose()
}

fn points(volumes: &[(VolumeEpoch, Point)]) -> steps::VolumePoints {
    let volumes = volumes.iter().map(|(volume, point)| v1::VolumePoint {
        volume: Some(epoch(volume)),
        point: Some(point.into()),
    });
    steps::VolumePoints { volumes: volumes.collect() }
}

fn point_from_message(volume: v1::VolumePoint) -> Result<(VolumeEpoch, Point), Malformed> {
    Ok((epoch_required(volume.volume)?, required("point", volume.point)?))
}

fn volume_order(order: &VolumeOrder) -> v1::VolumeOrder {
    v1::VolumeOrder {
        volume: Some(epoch(&order.volume)),
        options: Some((&order.options).into()),
        owner: order.owner.map(Into::into),
    }
}

fn volume_order_from_message(order: v1::VolumeOrder) -> Result<VolumeOrder, Malformed> {
    Ok(VolumeOrder {
        volume: epoch_required(order.volume)?,
        options: required("options", order.options)?,
        owner: order.owner.map(Into::into),
    })
}

fn attach_order(order: &AttachOrder) -> v1::AttachOrder {
    v1::AttachOrder { volume: Some(epoch(&order.volume)), key: order.key.clone() }
}

fn attach_order_from_message(order: v1::AttachOrder) -> Result<AttachOrder, Malformed> {
    Ok(AttachOrder { volume: epoch_required(order.volume)?, key: order.key })
}
