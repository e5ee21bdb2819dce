//! `flocker status`: the cluster at a glance.

use flocker_api::{Client, Failure, convert, v1};
use flocker_model::Operation;
use serde_json::json;

use super::{app, node};
use crate::{show, terminal::Answer};

pub(super) async fn status(client: &mut Client) -> Result<Answer, Failure> {
    let status = client.status(v1::StatusRequest {}).await?;
    let operations: Vec<Operation> = convert::each(status.operations)?;
    let troubles = troubles(&status.nodes, &status.apps, &status.troubles);
    let json = json!({
        "version": status.version,
        "node": status.node,
        "now_ms": status.now_ms,
        "nodes": status.nodes.iter().map(node::node_json).collect::<Vec<_>>(),
        "apps": status.apps.iter().map(app::app_json).collect::<Vec<_>>(),
        "operations": operations.iter().map(show::operation_json).collect::<Vec<_>>(),
        "troubles": troubles,
    });
    let mut text = format!(
        "answered by {}, version {}\n\n{}",
        status.node,
        status.version,
        node::nodes_table(&status.nodes)
    );
    if !status.apps.is_empty() {
        text += &format!("\n{}", app::apps_table(&status.apps));
    }
    if !operations.is_empty() {
        text += &format!("\n{}", show::operations_table(&operations));
    }
    text += &app::troubles_text(&troubles);
    Ok(Answer::new(json, text))
}

/// Everything that an operator should look at, each with what it is about.
fn troubles(nodes: &[v1::NodeView], apps: &[v1::AppView], cluster: &[String]) -> Vec<String> {
    let nodes = nodes.iter().flat_map(|view| {
        let name = view.node.as_ref().map_or("", |node| node.name.as_str());
        view.troubles.iter().map(move |trouble| format!("node {name}: {trouble}"))
    });
    cluster.iter().cloned().chain(nodes).chain(app::troubles(apps)).collect()
}
