//! `flocker node`.

use std::collections::BTreeMap;

use flocker_api::{Client, Failure, v1};
use flocker_model::{ByteSize, CpuMillis};
use serde_json::{Value, json};

use crate::{
    args::{LabelChange, NodeCommand},
    drain,
    show::{capacity, list, table},
    terminal::{Answer, confirm},
};

pub(super) async fn run(
    connect: impl AsyncFnOnce() -> Result<Client, Failure>,
    command: NodeCommand,
) -> Result<Answer, Failure> {
    if let NodeCommand::Rm { node, yes } = &command {
        confirm(*yes, &format!("removing node `{node}` from the cluster"))?;
    }
    let client = &mut connect().await?;
    match command {
        NodeCommand::Ls => {
            let nodes = client.list_nodes(v1::ListNodesRequest {}).await?.nodes;
            Ok(Answer::new(
                json!({"nodes": nodes.iter().map(node_json).collect::<Vec<_>>()}),
                nodes_table(&nodes),
            ))
        }
        NodeCommand::Drain { node, detach, timeout } => {
            let drained =
                client.drain_node(v1::DrainNodeRequest { node: node.to_string() }).await?;
            if detach {
                let text = format!(
                    "node {node} is being drained; `flocker node ls` shows what is left on it\n"
                );
                return Ok(Answer::new(record_json(&drained), text));
            }
            drain::drained(client, &node, timeout).await
        }
        NodeCommand::Rm { node, yes: _ } => {
            client.remove_node(v1::RemoveNodeRequest { node: node.to_string() }).await?;
            let text = format!(
                "node {node} was removed; on its machine `docker network rm flocker-{node}`, unmount `pool` in its state directory, and remove that\n"
            );
            Ok(Answer::new(json!({"removed": node.as_str()}), text))
        }
        NodeCommand::Undrain { node } => {
            let undrained =
                client.undrain_node(v1::UndrainNodeRequest { node: node.to_string() }).await?;
            Ok(Answer::new(record_json(&undrained), format!("node {node} takes apps again\n")))
        }
        NodeCommand::Label { node, labels } => {
            let mut request = v1::LabelNodeRequest { node: node.to_string(), ..Default::default() };
            for label in labels {
                match label {
                    LabelChange::Set(key, value) => drop(request.set.insert(key, value)),
                    LabelChange::Remove(key) => request.remove.push(key),
                }
            }
            let labelled = client.label_node(request).await?;
            let text = format!("node {node} has the labels {}\n", labels_text(&labelled.labels));
            Ok(Answer::new(record_json(&labelled), text))
        }
    }
}

pub(super) fn nodes_table(nodes: &[v1::NodeView]) -> String {
    let header = [
        "NODE",
        "STATE",
        "APPS",
        "VOLUMES",
        "MEMORY AVAILABLE",
        "PROMISED",
        "POOL FREE",
        "CPUS",
        "LOAD",
        "LABELS",
        "ADDRESS",
    ];
    table(
        header,
        nodes.iter().map(|view| {
            let node = view.node.clone().unwrap_or_default();
            let stats = view.stats.clone().unwrap_or_default();
            [
                node.name,
                state(view),
                view.apps.to_string(),
                view.volumes.to_string(),
                capacity(stats.memory),
                ByteSize(view.memory_promised).to_string(),
                capacity(stats.pool),
                view.stats.as_ref().map_or_else(
                    || "-".to_owned(),
                    |stats| CpuMillis(stats.cpu_millis).to_string(),
                ),
                view.stats.as_ref().map_or_else(|| "-".to_owned(), |stats| load(stats.load_millis)),
                labels_text(&node.labels),
                node.api,
            ]
        }),
    )
}

fn load(millis: u32) -> String {
    format!("{}.{:02}", millis / 1000, millis % 1000 / 10)
}

/// `ready`, `draining`, `down`; and whether it leads.
fn state(view: &v1::NodeView) -> String {
    let draining = view.node.as_ref().is_some_and(|node| node.draining);
    let state = match (view.alive, draining) {
        (false, _) => "down",
        (true, true) => "draining",
        (true, false) => "ready",
    };
    if view.leader { format!("{state}, leader") } else { state.to_owned() }
}

fn labels_text(labels: &BTreeMap<String, String>) -> String {
    list(labels.iter().map(|(key, value)| format!("{key}={value}")))
}

fn record_json(node: &v1::Node) -> Value {
    json!({
        "name": node.name,
        "api": node.api,
        "mesh": node.mesh,
        "replication": node.replication,
        "stream_key": node.stream_key,
        "labels": node.labels,
        "configured": node.configured,
        "draining": node.draining,
    })
}

pub(super) fn node_json(view: &v1::NodeView) -> Value {
    let space = |capacity: Option<v1::Capacity>| {
        capacity.map(|c| json!({"total": c.total, "free": c.free}))
    };
    let stats = view.stats.as_ref().map(|stats| {
        json!({
            "memory": space(stats.memory),
            "pool": space(stats.pool),
            "cpu_millis": stats.cpu_millis,
            "streams": stats.streams,
            "load_millis": stats.load_millis,
            "at_ms": stats.at_ms,
        })
    });
    let mut json = record_json(view.node.as_ref().unwrap_or(&v1::Node::default()));
    let more = [
        ("alive", json!(view.alive)),
        ("leader", json!(view.leader)),
        ("apps", json!(view.apps)),
        ("volumes", json!(view.volumes)),
        ("stats", json!(stats)),
        ("memory_promised", json!(view.memory_promised)),
        ("troubles", json!(view.troubles)),
    ];
    for (key, value) in more {
        json[key] = value;
    }
    json
}
