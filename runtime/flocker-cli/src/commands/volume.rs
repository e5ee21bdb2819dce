//! `flocker volume`.

use flocker_api::{Client, Failure, convert, v1};
use flocker_model::{
    ByteSize, Compression, RecordSize, Snapshot, SnapshotTag, Volume, VolumeName, VolumeState,
};
use serde_json::{Value, json};

use crate::{
    args::VolumeCommand,
    show::{list, moment, or_dash, table},
    terminal::{Answer, confirm},
};

pub(super) async fn run(
    connect: impl AsyncFnOnce() -> Result<Client, Failure>,
    command: VolumeCommand,
) -> Result<Answer, Failure> {
    if let VolumeCommand::Rm { name, yes } = &command {
        confirm(*yes, &format!("removing volume `{name}` with all its snapshots and copies"))?;
    }
    let mut client = connect().await?;
    match command {
        VolumeCommand::Ls => ls(&mut client).await,
        VolumeCommand::Create { name, options, owner, node } => {
            let options = options.into_options();
            let request = v1::CreateVolumeRequest {
                name: name.to_string(),
                options: Some((&options).into()),
                ownership: owner
                    .map(|owner| v1::Ownership { user: owner.user, group: owner.group }),
                node: node.map(|node| node.to_string()),
            };
            let volume = client.create_volume(request).await?;
            Ok(Answer::new(
                volume_json(&volume),
                format!("volume {name} was made, {}\n", options.size),
            ))
        }
        VolumeCommand::Clone { volume, name, at } => clone(&mut client, &volume, &name, at).await,
        VolumeCommand::Rollback { volume, to } => rollback(&mut client, &volume, &to).await,
        VolumeCommand::Rm { name, yes: _ } => {
            let removed =
                client.remove_volume(v1::RemoveVolumeRequest { name: name.to_string() }).await?;
            let mut text = format!("volume {name} was removed\n");
            if !removed.left_on.is_empty() {
                let nodes = removed.left_on.join(", ");
                text += &format!("what {nodes} still has of it goes as soon as that answers\n");
            }
            Ok(Answer::new(json!({"removed": name.as_str(), "left_on": removed.left_on}), text))
        }
        VolumeCommand::Inspect { name } => {
            let reply =
                client.inspect_volume(v1::InspectVolumeRequest { name: name.to_string() }).await?;
            inspect(reply)
        }
        VolumeCommand::Snapshot { name, tag } => {
            let tag = tag.map(|tag| tag.to_string());
            let snapshot = client
                .snapshot_volume(v1::SnapshotVolumeRequest { name: name.to_string(), tag })
                .await?;
            let text = format!("snapshot {} of volume {name} was taken\n", snapshot.point.tag);
            Ok(Answer::new(snapshot_json(&snapshot), text))
        }
        VolumeCommand::Snapshots { name } => {
            let reply =
                client.list_snapshots(v1::ListSnapshotsRequest { name: name.to_string() }).await?;
            snapshots(convert::each(reply.snapshots)?)
        }
    }
}

async fn clone(
    client: &mut Client,
    volume: &VolumeName,
    name: &VolumeName,
    at: Option<SnapshotTag>,
) -> Result<Answer, Failure> {
    let request = v1::CloneVolumeRequest {
        source: volume.to_string(),
        snapshot: at.as_ref().map(ToString::to_string),
        name: name.to_string(),
    };
    let made = client.clone_volume(request).await?;
    let node = or_dash(made.owner.as_ref().map(AsRef::as_ref));
    let of = at.map_or_else(|| volume.to_string(), |at| format!("{volume} at {at}"));
    let text = format!("volume {name} was made on {node}, a clone of {of}\n");
    Ok(Answer::new(volume_json(&made), text))
}

async fn rollback(
    client: &mut Client,
    volume: &VolumeName,
    to: &SnapshotTag,
) -> Result<Answer, Failure> {
    let request = v1::RollbackVolumeRequest { name: volume.to_string(), snapshot: to.to_string() };
    let kept = client.rollback_volume(request).await?;
    let text = format!(
        "volume {volume} is what it was at {to}\nwhat it was until now is volume {}\n",
        kept.name
    );
    let json = json!({
        "volume": volume.as_str(), "snapshot": to.as_str(), "kept": volume_json(&kept),
    });
    Ok(Answer::new(json, text))
}

async fn ls(client: &mut Client) -> Result<Answer, Failure> {
    let mut volumes: Vec<(Volume, Option<ByteSize>, Option<String>)> = Vec::new();
    for view in client.list_volumes(v1::ListVolumesRequest {}).await?.volumes {
        let volume = convert::required("volume", view.volume)?;
        volumes.push((volume, view.used.map(ByteSize), view.trouble));
    }
    let text = table(
        ["VOLUME", "APP", "NODE", "EPOCH", "USED", "SIZE", "COPIES ON", "TROUBLE"],
        volumes.iter().map(|(volume, used, trouble)| {
            [
                volume.name.to_string(),
                or_dash(volume.app.as_ref().map(AsRef::as_ref)),
                or_dash(volume.owner.as_ref().map(AsRef::as_ref)),
                volume.epoch.to_string(),
                used.map_or_else(|| "-".to_owned(), |used| used.to_string()),
                volume.options.size.to_string(),
                list(volume.replicas.iter().map(|replica| replica.node.to_string())),
                or_dash(trouble.as_deref()),
            ]
        }),
    );
    let json = volumes.iter().map(|(volume, used, trouble)| {
        let mut json = volume_json(volume);
        json["used"] = json!(used.map(|used| used.0));
        json["trouble"] = json!(trouble);
        json
    });
    Ok(Answer::list(
        json!({"volumes": json.collect::<Vec<_>>()}),
        text,
        volumes.len(),
        "there are no volumes; apps make their own, and `flocker volume create` makes one",
    ))
}

fn inspect(reply: v1::InspectVolumeReply) -> Result<Answer, Failure> {
    let volume: Volume = convert::required("volume", reply.volume)?;
    let mut copies: Vec<(String, VolumeState, Option<Snapshot>)> = Vec::new();
    for copy in reply.copies {
        let newest = copy.newest.map(TryInto::try_into).transpose()?;
        copies.push((copy.node, convert::required("state", copy.state)?, newest));
    }
    let role = |state: &VolumeState| match state.role {
        flocker_model::Role::Live => "live",
        flocker_model::Role::Sealed => "sealed",
        flocker_model::Role::Replica => "replica",
    };
    let newest = |node: &str, newest: &Option<Snapshot>| {
        let said = newest.as_ref().map(|snapshot| snapshot.point.tag.as_str());
        // Of a node that does not answer, what the cluster remembers.
        let replica = volume.replicas.iter().find(|replica| replica.node.as_str() == node);
        or_dash(said.or(replica.map(|replica| replica.tag.as_str())))
    };
    let mut text = format!("volume {} ({})\n", volume.name, volume.id);
    text += &format!("app     {}\n", or_dash(volume.app.as_ref().map(AsRef::as_ref)));
    text += &format!("node    {}\n", or_dash(volume.owner.as_ref().map(AsRef::as_ref)));
    text += &format!("epoch   {}\n", volume.epoch);
    text += &format!("size    {}\n", volume.options.size);
    if let Some(size) = volume.options.record_size {
        text += &format!("records {size}\n");
    }
    if let Some(how) = volume.options.compression {
        text += &format!("packed  {how}\n");
    }
    if volume.options.reserved {
        text += "room    reserved\n";
    }
    if let Some(secret) = &volume.options.secret {
        text += &format!("secret  {secret}\n");
    }
    if let Some((user, group)) = volume.ownership {
        text += &format!("owner   {user}:{group}\n");
    }
    text += "\n";
    text += &table(
        ["COPY ON", "ROLE", "EPOCH", "USED", "NEWEST SNAPSHOT"],
        copies.iter().map(|(node, state, snapshot)| {
            [
                node.clone(),
                role(state).to_owned(),
                state.epoch.to_string(),
                state.used.to_string(),
                newest(node, snapshot),
            ]
        }),
    );
    let mut json = volume_json(&volume);
    json["copies"] = copies
        .iter()
        .map(|(node, state, snapshot)| {
            json!({
                "node": node, "role": role(state), "epoch": state.epoch.0, "size": state.size.0, "used": state.used.0,
                "newest": snapshot.as_ref().map(snapshot_json),
            })
        })
        .collect();
    Ok(Answer::new(json, text))
}

fn snapshots(snapshots: Vec<Snapshot>) -> Result<Answer, Failure> {
    let text = table(
        ["SNAPSHOT", "TAKEN", "REFERS TO", "GUID"],
        snapshots.iter().map(|snapshot| {
            [
                snapshot.point.tag.to_string(),
                moment(snapshot.taken),
                snapshot.referenced.to_string(),
                snapshot.point.guid.to_string(),
            ]
        }),
    );
    Ok(Answer::list(
        json!({"snapshots": snapshots.iter().map(snapshot_json).collect::<Vec<_>>()}),
        text,
        snapshots.len(),
        "the volume has no snapshots; `flocker volume snapshot` takes one",
    ))
}

fn volume_json(volume: &Volume) -> Value {
    let replicas = volume.replicas.iter().map(|replica| {
        json!({"node": replica.node.as_str(), "snapshot": replica.tag.as_str(), "guid": replica.guid.to_string()})
    });
    json!({
        "id": volume.id.as_str(),
        "name": volume.name.as_str(),
        "app": volume.app.as_ref().map(|app| app.as_str()),
        "node": volume.owner.as_ref().map(|node| node.as_str()),
        "epoch": volume.epoch.0,
        "size": volume.options.size.0,
        "record_size": volume.options.record_size.map(RecordSize::bytes),
        "compression": volume.options.compression.map(Compression::as_str),
        "reserved": volume.options.reserved,
        "secret": volume.options.secret.as_ref().map(|secret| secret.as_str()),
        "owner": volume.ownership.map(|(user, group)| format!("{user}:{group}")),
        "replicas": replicas.collect::<Vec<_>>(),
    })
}

fn snapshot_json(snapshot: &Snapshot) -> Value {
    json!({
        "snapshot": snapshot.point.tag.as_str(),
        "guid": snapshot.point.guid.to_string(),
        "taken_ms": snapshot.taken.0,
        "referenced": snapshot.referenced.0,
    })
}
