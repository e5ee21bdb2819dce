//! An app as a policy sees it.

use std::rc::Rc;

use crate::{
    Node, Timestamp, Volume,
    table::{Known, Row, Table, id, kind_of_row},
};

/// An app. In tests, make one with [`App::sample`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct App<'a> {
    pub(crate) row: Row<'a>,
}

kind_of_row!(App, "apps");

impl<'a> App<'a> {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> String {
        self.text("name").unwrap_or_default().to_string()
    }

    /// Where it is, or will be when the move that it is in is done.
    #[must_use]
    pub fn node(&self) -> Option<Node<'a>> {
        self.row.reference(Known::AppNode, Table::Nodes).map(Node::from)
    }

    /// Memory that it may use, in bytes; 0 where it is not limited.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.row.known(Known::AppMemory).unwrap_or(0)
    }

    /// CPU that it may use, in thousandths; 0 where it is not limited.
    #[must_use]
    pub fn cpu_millis(&self) -> u64 {
        self.row.known(Known::AppCpu).unwrap_or(0)
    }

    /// What its volumes may hold, in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.row.known(Known::AppSize).unwrap_or(0)
    }

    /// When it came to its node.
    #[must_use]
    pub fn placed(&self) -> Option<Timestamp> {
        self.row.known(Known::AppPlaced).map(Timestamp)
    }

    /// Its volumes.
    #[must_use]
    pub fn volumes(&self) -> Vec<Volume<'a>> {
        self.row.referring(Known::VolumeApp).into_iter().map(Volume::from).collect()
    }

    /// A label of its containers.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<Rc<str>> {
        self.row.label(key)
    }
}

/// For tests: apps that exist nowhere.
impl App<'static> {
    /// An app of this name that needs nothing and is nowhere.
    #[must_use]
    pub fn sample(name: &str) -> Self {
        Row::sample(Table::Apps, name).into()
    }

    /// It is on the node of this name.
    #[must_use]
    pub fn on(self, node: &str) -> Self {
        self.with("node", id(node).into())
    }

    /// It may use so many bytes of memory.
    #[must_use]
    pub fn with_memory(self, bytes: u64) -> Self {
        self.with("memory-bytes", bytes)
    }

    /// It may use so many thousandths of a CPU.
    #[must_use]
    pub fn with_cpu_millis(self, millis: u64) -> Self {
        self.with("cpu-millis", millis)
    }

    /// Its volumes may hold so many bytes.
    #[must_use]
    pub fn with_size(self, bytes: u64) -> Self {
        self.with("size-bytes", bytes)
    }

    /// It has this label.
    #[must_use]
    pub fn with_label(self, key: &str, value: &str) -> Self {
        self.row.with(|cells| cells.label(key, value)).into()
    }
}
