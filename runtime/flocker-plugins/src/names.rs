//! What the rows of a cluster were called. Questions and answers refer to rows by their position; people do not.

use flocker_planner::ClusterView;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The names of a cluster's rows at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub(crate) struct Names {
    nodes: Vec<String>,
    apps: Vec<String>,
    volumes: Vec<String>,
    /// A replica is called after the node that holds it; which volume it is of stands beside it.
    replicas: Vec<u32>,
}

impl Names {
    pub(crate) fn of(view: &ClusterView) -> Self {
        Self {
            nodes: view.nodes.iter().map(|row| row.name.to_string()).collect(),
            apps: view.apps.iter().map(|row| row.name.to_string()).collect(),
            volumes: view.volumes.iter().map(|row| row.name.to_string()).collect(),
            replicas: view.replicas.iter().map(|row| row.node).collect(),
        }
    }

    fn get(&self, table: Table, row: usize) -> Option<String> {
        match table {
            Table::Nodes => self.nodes.get(row).cloned(),
            Table::Apps => self.apps.get(row).cloned(),
            Table::Volumes => self.volumes.get(row).cloned(),
            Table::Replicas => {
                let node = usize::try_from(*self.replicas.get(row)?).ok()?;
                self.nodes.get(node).cloned()
            }
        }
    }

    /// Puts names in the place of rows, wherever a question or a verdict has some. What has no name stays a number.
    pub(crate) fn put_into(&self, value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| self.put_into(item)),
            Value::Object(fields) => {
                for (field, value) in fields {
                    match Table::of(field) {
                        Some(table) => self.name(table, value),
                        None => self.put_into(value),
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// A row, or several.
    fn name(&self, table: Table, value: &mut Value) {
        match value {
            Value::Array(rows) => rows.iter_mut().for_each(|row| self.name(table, row)),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Object(_) => {
                let row = value.as_u64().and_then(|row| usize::try_from(row).ok());
                if let Some(name) = row.and_then(|row| self.get(table, row)) {
                    *value = Value::String(name);
                }
            }
        }
    }
}

/// What a row is of.
#[derive(Debug, Clone, Copy)]
enum Table {
    Nodes,
    Apps,
    Volumes,
    Replicas,
}

impl Table {
    /// Of which table a field holds rows, in the words of `wit/`.
    fn of(field: &str) -> Option<Self> {
        match field {
            "candidates" | "candidate" | "current" | "holders" | "excluded" | "target" | "node" => {
                Some(Self::Nodes)
            }
            "apps" | "app" | "movable" => Some(Self::Apps),
            "volumes" | "volume" => Some(Self::Volumes),
            "replica" => Some(Self::Replicas),
            _ => None,
        }
    }
}
