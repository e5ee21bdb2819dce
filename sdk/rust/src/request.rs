//! The question: which app needs a place, and what it needs.

use std::collections::BTreeMap;

use crate::{Node, bindings::placement::exports::flocker::plugin::placement};

/// What is to be placed. In tests, start from [`Request::sample`] and change what matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    replica: bool,
    name: String,
    purpose: String,
    memory: u64,
    cpu_millis: u32,
    size: u64,
    volumes: u64,
    current: Option<u32>,
    holders: Vec<u32>,
    labels: BTreeMap<String, String>,
}

impl Request {
    pub(crate) fn of_host(request: placement::Request) -> Self {
        let label =
            |attr: placement::Attr| Some((attr.key.strip_prefix("label:")?.to_owned(), attr.value));
        Self {
            replica: request.kind == "replica",
            name: request.name,
            purpose: request.purpose,
            memory: request.memory_bytes,
            cpu_millis: request.cpu_millis,
            size: request.size_bytes,
            volumes: request.volumes.len() as u64,
            current: request.current,
            holders: request.holders,
            labels: request.attrs.into_iter().filter_map(label).collect(),
        }
    }

    /// A new app that needs nothing, for tests.
    #[must_use]
    pub fn sample(name: &str) -> Self {
        Self {
            replica: false,
            name: name.into(),
            purpose: "create".into(),
            memory: 0,
            cpu_millis: 0,
            size: 0,
            volumes: 0,
            current: None,
            holders: Vec::new(),
            labels: BTreeMap::new(),
        }
    }

    /// For tests: it is asked where a copy of the data is to be kept.
    #[must_use]
    pub fn for_replica(self) -> Self {
        Self { replica: true, ..self }
    }

    /// For tests: it needs so many bytes of memory.
    #[must_use]
    pub fn with_memory(self, bytes: u64) -> Self {
        Self { memory: bytes, ..self }
    }

    /// For tests: it needs so many thousandths of a CPU.
    #[must_use]
    pub fn with_cpu_millis(self, cpu_millis: u32) -> Self {
        Self { cpu_millis, ..self }
    }

    /// For tests: its volumes need so many bytes.
    #[must_use]
    pub fn with_size(self, bytes: u64) -> Self {
        Self { size: bytes, ..self }
    }

    /// For tests: it has so many volumes.
    #[must_use]
    pub fn with_volumes(self, volumes: u64) -> Self {
        Self { volumes, ..self }
    }

    /// For tests: it is on this node now.
    #[must_use]
    pub fn at(self, node: &Node) -> Self {
        Self { current: Some(node.row.place()), ..self }
    }

    /// For tests: this node holds a copy of its data.
    #[must_use]
    pub fn held_by(mut self, node: &Node) -> Self {
        self.holders.push(node.row.place());
        self
    }

    /// For tests: it has this label.
    #[must_use]
    pub fn with_label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// Whether a place is looked for a read-only copy of the app's data, which needs space and nothing else, and is worth
    /// most where what may happen to the app's own node does not happen.
    #[must_use]
    pub fn is_replica(&self) -> bool {
        self.replica
    }

    /// The app's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Why it is asked: `create`, `operator`, `drain` or `rebalance`.
    #[must_use]
    pub fn purpose(&self) -> &str {
        &self.purpose
    }

    /// Memory that it may use, in bytes; 0 where it is not limited.
    #[must_use]
    #[inline]
    pub fn memory(&self) -> u64 {
        self.memory
    }

    /// CPU that it may use, in thousandths; 0 where it is not limited.
    #[must_use]
    #[inline]
    pub fn cpu_millis(&self) -> u32 {
        self.cpu_millis
    }

    /// What its volumes may hold, in bytes.
    #[must_use]
    #[inline]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// How many volumes it has. The node where it is counts them among its own.
    #[must_use]
    #[inline]
    pub fn volumes(&self) -> u64 {
        self.volumes
    }

    /// A label of its containers.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.get(key).map(String::as_str)
    }

    /// The labels of its containers, in alphabetical order of the keys.
    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        self.labels.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Whether it is on this node now. What it uses there is among what the node has promised.
    #[must_use]
    #[inline]
    pub fn is_at(&self, node: &Node) -> bool {
        self.current == Some(node.row.place())
    }

    /// Whether this node holds a copy of its data, so that less has to travel.
    #[must_use]
    #[inline]
    pub fn is_held_by(&self, node: &Node) -> bool {
        self.is_at(node) || self.holders.contains(&node.row.place())
    }
}
