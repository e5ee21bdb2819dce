//! The cluster as columns: which tables and columns there are, as `wit/columns.md` lists them.

use std::sync::Arc;

use flocker_model::Timestamp;
use flocker_planner::{AppRow, ClusterView, NodeRow, ReplicaRow, VolumeRow};
use serde::{Deserialize, Serialize};

use crate::dictionary::Dictionary;

/// One column, in the order of the rows. Whoever is shown it shares it: on its way to a plugin it is copied once, into the
/// plugin's memory.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Column {
    /// Numbers that fit 32 bits; the maximum is "missing".
    Small(Arc<[u32]>),
    /// Numbers; the maximum is "missing".
    Large(Arc<[u64]>),
    /// Numbers of texts; 0 is "missing".
    Text(Arc<[u32]>),
}

impl Column {
    /// As `u32s` hands it out.
    pub(crate) fn u32s(&self) -> Option<Arc<[u32]>> {
        match self {
            Self::Small(numbers) => Some(Arc::clone(numbers)),
            Self::Large(_) | Self::Text(_) => None,
        }
    }

    /// As `u64s` hands it out.
    pub(crate) fn u64s(&self) -> Option<Arc<[u64]>> {
        let widened = |n: &u32| if *n == u32::MAX { u64::MAX } else { u64::from(*n) };
        match self {
            Self::Small(numbers) => Some(numbers.iter().map(widened).collect()),
            Self::Large(numbers) => Some(Arc::clone(numbers)),
            Self::Text(_) => None,
        }
    }

    /// As `f64s` hands it out.
    #[expect(clippy::cast_precision_loss, reason = "a policy that asks for floats wants floats")]
    pub(crate) fn f64s(&self) -> Option<Arc<[f64]>> {
        match self {
            Self::Small(numbers) => {
                let float = |n: &u32| if *n == u32::MAX { f64::NAN } else { f64::from(*n) };
                Some(numbers.iter().map(float).collect())
            }
            Self::Large(numbers) => {
                let float = |n: &u64| if *n == u64::MAX { f64::NAN } else { *n as f64 };
                Some(numbers.iter().map(float).collect())
            }
            Self::Text(_) => None,
        }
    }

    /// As `ids` hands it out.
    pub(crate) fn ids(&self) -> Option<Arc<[u32]>> {
        match self {
            Self::Text(ids) => Some(Arc::clone(ids)),
            Self::Small(_) | Self::Large(_) => None,
        }
    }
}

/// The tables that there are.
pub(crate) const TABLES: [&str; 4] = ["nodes", "apps", "volumes", "replicas"];

/// How many rows a table has; `None` when there is no such table.
pub(crate) fn rows(view: &ClusterView, table: &str) -> Option<u32> {
    let rows = match table {
        "nodes" => view.nodes.len(),
        "apps" => view.apps.len(),
        "volumes" => view.volumes.len(),
        "replicas" => view.replicas.len(),
        _ => return None,
    };
    u32::try_from(rows).ok()
}

/// A column; `None` when there is no such table or column.
pub(crate) fn column(
    view: &ClusterView,
    table: &str,
    name: &str,
    dictionary: &Dictionary,
) -> Option<Column> {
    let cells = match table {
        "nodes" => nodes(&view.nodes, name),
        "apps" => apps(&view.apps, name),
        "volumes" => volumes(&view.volumes, name),
        "replicas" => replicas(&view.replicas, name),
        _ => None,
    };
    Some(match cells? {
        Cells::Small(numbers) => Column::Small(numbers),
        Cells::Large(numbers) => Column::Large(numbers),
        Cells::Text(texts) => Column::Text(dictionary.intern(texts.into_iter()).into()),
    })
}

/// The texts that any column of a view holds, so that each has a number.
pub(crate) fn intern_all(view: &ClusterView, dictionary: &Dictionary) {
    let labels = view.nodes.iter().map(|n| &n.labels).chain(view.apps.iter().map(|a| &a.labels));
    let names = (view.nodes.iter().map(|n| n.name.as_str()))
        .chain(view.apps.iter().map(|a| a.name.as_str()))
        .chain(view.volumes.iter().map(|v| v.name.as_str()));
    let texts = names.chain(labels.flat_map(|l| l.values().map(String::as_str)));
    drop(dictionary.intern(texts.map(Some)));
}

/// A column whose texts have no numbers yet.
enum Cells<'a> {
    Small(Arc<[u32]>),
    Large(Arc<[u64]>),
    Text(Vec<Option<&'a str>>),
}

fn small<R>(rows: &[R], of: impl Fn(&R) -> u32) -> Option<Cells<'_>> {
    Some(Cells::Small(rows.iter().map(of).collect()))
}

fn large<R>(rows: &[R], of: impl Fn(&R) -> u64) -> Option<Cells<'_>> {
    Some(Cells::Large(rows.iter().map(of).collect()))
}

fn text<'a, R>(rows: &'a [R], of: impl Fn(&'a R) -> Option<&'a str>) -> Option<Cells<'a>> {
    Some(Cells::Text(rows.iter().map(of).collect()))
}

/// A moment that may not be known.
fn moment(at: Option<Timestamp>) -> u64 {
    at.map_or(u64::MAX, |at| at.0)
}

/// A reference to a row.
fn row(row: Option<u32>) -> u32 {
    row.unwrap_or(u32::MAX)
}

fn nodes<'a>(rows: &'a [NodeRow], name: &str) -> Option<Cells<'a>> {
    match name {
        "name" => text(rows, |r| Some(r.name.as_str())),
        "alive" => small(rows, |r| r.alive.into()),
        "draining" => small(rows, |r| r.draining.into()),
        "memory-bytes" => large(rows, |r| r.memory.total.0),
        "memory-free-bytes" => large(rows, |r| r.memory.free.0),
        "memory-promised-bytes" => large(rows, |r| r.memory_promised.0),
        "cpu-millis" => small(rows, |r| r.cpu.0),
        "cpu-promised-millis" => small(rows, |r| r.cpu_promised.0),
        "pool-bytes" => large(rows, |r| r.pool.total.0),
        "pool-free-bytes" => large(rows, |r| r.pool.free.0),
        "load-millis" => small(rows, |r| r.load_millis),
        "apps" => small(rows, |r| r.apps),
        "volumes" => small(rows, |r| r.volumes),
        _ => {
            let key = name.strip_prefix("label:")?;
            text(rows, |r| r.labels.get(key).map(String::as_str))
        }
    }
}

fn apps<'a>(rows: &'a [AppRow], name: &str) -> Option<Cells<'a>> {
    match name {
        "name" => text(rows, |r| Some(r.name.as_str())),
        "node" => small(rows, |r| row(r.node)),
        "epoch" => large(rows, |r| r.epoch.0),
        "memory-bytes" => large(rows, |r| r.memory.0),
        "cpu-millis" => small(rows, |r| r.cpu.0),
        "size-bytes" => large(rows, |r| r.size.0),
        "placed-ms" => large(rows, |r| r.placed.0),
        _ => {
            let key = name.strip_prefix("label:")?;
            text(rows, |r| r.labels.get(key).map(String::as_str))
        }
    }
}

fn volumes<'a>(rows: &'a [VolumeRow], name: &str) -> Option<Cells<'a>> {
    match name {
        "name" => text(rows, |r| Some(r.name.as_str())),
        "app" => small(rows, |r| row(r.app)),
        "node" => small(rows, |r| row(r.node)),
        "size-bytes" => large(rows, |r| r.size.0),
        "used-bytes" => large(rows, |r| r.used.0),
        "written-ms" => large(rows, |r| moment(r.written)),
        "snapshot-ms" => large(rows, |r| moment(r.snapshot)),
        _ => None,
    }
}

fn replicas<'a>(rows: &'a [ReplicaRow], name: &str) -> Option<Cells<'a>> {
    match name {
        "volume" => small(rows, |r| r.volume),
        "node" => small(rows, |r| r.node),
        "taken-ms" => large(rows, |r| moment(r.taken)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every column that the registry names exists with its type, and none exists that it does not name.
    #[test]
    fn the_registry_and_the_host_agree() {
        let view = ClusterView::default();
        let mut table = "";
        let mut found = 0;
        for line in include_str!("../../../wit/columns.md").lines() {
            if let Some(name) = line.strip_prefix("## ") {
                table = name;
            }
            let cells: Vec<_> = line.split('|').map(str::trim).collect();
            let ["", name, kind, unit, what, ""] = cells.as_slice() else { continue };
            let Some(name) = name.strip_prefix('`').and_then(|n| n.strip_suffix('`')) else {
                continue;
            };
            if rows(&view, table).is_none() {
                continue;
            }
            let got = match column(&view, table, name, &Dictionary::default()) {
                Some(Column::Small(_)) => "u32",
                Some(Column::Large(_)) => "u64",
                Some(Column::Text(_)) => "text",
                None => "nothing",
            };
            assert_eq!(got, *kind, "{table}/{name}");
            let units = [("-bytes", "bytes"), ("-millis", "1/1000"), ("-ms", "ms since 1970")];
            for (_, needed) in units.iter().filter(|(ending, _)| name.ends_with(ending)) {
                assert!(unit.starts_with(needed), "{table}/{name} is in `{unit}`");
            }
            assert!(!what.is_empty(), "{table}/{name}: it is not said what it is");
            found += 1;
        }
        assert_eq!(found, n_columns(), "columns.md does not name each column once");
    }

    /// How many columns the functions above know, by their text.
    fn n_columns() -> usize {
        let makes = ["text(rows, ", "small(rows, ", "large(rows, "];
        let arms = include_str!("columns.rs").lines().take_while(|line| *line != "#[cfg(test)]");
        arms.filter(|line| makes.iter().any(|make| line.contains(make))).count()
    }

    #[test]
    fn a_missing_reference_is_missing_in_every_type() {
        let column = Column::Small([u32::MAX, 1].into());
        assert_eq!(column.u64s(), Some([u64::MAX, 1].into()));
        assert!(column.f64s().unwrap()[0].is_nan());
    }
}
