//! A node as a policy sees it.

use std::rc::Rc;

use crate::{
    App,
    table::{Known, Row, Table, kind_of_row},
};

/// A node. In tests, make one with [`Node::sample`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node<'a> {
    pub(crate) row: Row<'a>,
}

kind_of_row!(Node, "nodes");

impl<'a> Node<'a> {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> String {
        self.text("name").unwrap_or_default().to_string()
    }

    /// Whether it answered lately.
    #[must_use]
    #[inline]
    pub fn is_alive(&self) -> bool {
        self.row.known(Known::NodeAlive).unwrap_or(0) != 0
    }

    /// Whether an operator wants it empty.
    #[must_use]
    #[inline]
    pub fn is_draining(&self) -> bool {
        self.row.known(Known::NodeDraining).unwrap_or(0) != 0
    }

    /// Memory of the machine, in bytes; 0 while it has not said.
    #[must_use]
    #[inline]
    pub fn memory(&self) -> u64 {
        self.row.known(Known::NodeMemory).unwrap_or(0)
    }

    /// Memory that no app was promised, in bytes.
    #[must_use]
    #[inline]
    pub fn memory_free(&self) -> u64 {
        self.row.known(Known::NodeMemoryFree).unwrap_or(0)
    }

    /// Memory that apps were promised, in bytes.
    #[must_use]
    #[inline]
    pub fn memory_promised(&self) -> u64 {
        self.row.known(Known::NodeMemoryPromised).unwrap_or(0)
    }

    /// CPUs of the machine, in thousandths.
    #[must_use]
    #[inline]
    pub fn cpu_millis(&self) -> u64 {
        self.row.known(Known::NodeCpu).unwrap_or(0)
    }

    /// CPU that apps were promised, in thousandths.
    #[must_use]
    #[inline]
    pub fn cpu_promised_millis(&self) -> u64 {
        self.row.known(Known::NodeCpuPromised).unwrap_or(0)
    }

    /// Size of its storage pool, in bytes.
    #[must_use]
    #[inline]
    pub fn pool(&self) -> u64 {
        self.row.known(Known::NodePool).unwrap_or(0)
    }

    /// What is free in its storage pool, in bytes.
    #[must_use]
    #[inline]
    pub fn pool_free(&self) -> u64 {
        self.row.known(Known::NodePoolFree).unwrap_or(0)
    }

    /// One-minute load average, in thousandths.
    #[must_use]
    #[inline]
    pub fn load_millis(&self) -> u64 {
        self.row.known(Known::NodeLoad).unwrap_or(0)
    }

    /// How many apps it holds, arriving ones included.
    #[must_use]
    #[inline]
    pub fn apps(&self) -> u64 {
        self.row.known(Known::NodeApps).unwrap_or(0)
    }

    /// How many volumes it owns.
    #[must_use]
    #[inline]
    pub fn volumes(&self) -> u64 {
        self.row.known(Known::NodeVolumes).unwrap_or(0)
    }

    /// The apps that it holds, arriving ones included.
    #[must_use]
    pub fn residents(&self) -> Vec<App<'a>> {
        self.row.referring(Known::AppNode).into_iter().map(App::from).collect()
    }

    /// A label, from its configuration or from an operator.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<Rc<str>> {
        self.row.label(key)
    }
}

/// For tests: nodes that exist nowhere.
impl Node<'static> {
    /// A node of this name that is alive and has nothing else.
    #[must_use]
    pub fn sample(name: &str) -> Self {
        Self::from(Row::sample(Table::Nodes, name)).with("alive", 1)
    }

    /// It does not answer.
    #[must_use]
    pub fn silent(self) -> Self {
        self.with("alive", 0)
    }

    /// It has so many bytes of memory, and has promised so many of them to apps.
    #[must_use]
    pub fn with_memory(self, bytes: u64, promised: u64) -> Self {
        self.with("memory-bytes", bytes)
            .with("memory-promised-bytes", promised)
            .with("memory-free-bytes", bytes.saturating_sub(promised))
    }

    /// It has so many thousandths of a CPU, and has promised so many of them to apps.
    #[must_use]
    pub fn with_cpu(self, millis: u64, promised: u64) -> Self {
        self.with("cpu-millis", millis).with("cpu-promised-millis", promised)
    }

    /// Its pool has so many bytes, and so many of them are free.
    #[must_use]
    pub fn with_pool(self, bytes: u64, free: u64) -> Self {
        self.with("pool-bytes", bytes).with("pool-free-bytes", free)
    }

    /// It says that it holds so many apps.
    #[must_use]
    pub fn with_apps(self, apps: u64) -> Self {
        self.with("apps", apps)
    }

    /// It has this label.
    #[must_use]
    pub fn with_label(self, key: &str, value: &str) -> Self {
        self.row.with(|cells| cells.label(key, value)).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_answers_with_what_it_was_given() {
        let node = Node::sample("a").with_memory(100, 30).with_label("zone", "");
        assert_eq!((node.name().as_str(), node.memory_free(), node.cpu_millis()), ("a", 70, 0));
        assert_eq!(node.label("zone").as_deref(), Some(""));
        assert_eq!(node.label("rack"), None);
        assert_eq!(node.number("no-such-column"), None);
        assert!(node.is_alive() && !node.silent().is_alive());
    }
}
