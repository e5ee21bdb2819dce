//! Volumes and their replicas as a policy sees them.

use crate::{
    App, Node, Timestamp,
    table::{Known, Row, Table, id, kind_of_row},
};

/// A volume. In tests, make one with [`Volume::sample`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Volume<'a> {
    pub(crate) row: Row<'a>,
}

kind_of_row!(Volume, "volumes");

impl<'a> Volume<'a> {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> String {
        self.text("name").unwrap_or_default().to_string()
    }

    /// Who uses it.
    #[must_use]
    pub fn app(&self) -> Option<App<'a>> {
        self.row.reference(Known::VolumeApp, Table::Apps).map(App::from)
    }

    /// Its owner.
    #[must_use]
    pub fn node(&self) -> Option<Node<'a>> {
        self.row.reference(Known::VolumeNode, Table::Nodes).map(Node::from)
    }

    /// The most that may be written to it, in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.row.known(Known::VolumeSize).unwrap_or(0)
    }

    /// What is written to it, in bytes.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.row.known(Known::VolumeUsed).unwrap_or(0)
    }

    /// When somebody was last seen to write to it; `None` where that is not known.
    #[must_use]
    pub fn written(&self) -> Option<Timestamp> {
        self.row.known(Known::VolumeWritten).map(Timestamp)
    }

    /// When its newest snapshot by schedule was taken; `None` where there is none.
    #[must_use]
    pub fn snapshot(&self) -> Option<Timestamp> {
        self.row.known(Known::VolumeSnapshot).map(Timestamp)
    }

    /// Its replicas, on whatever nodes.
    #[must_use]
    pub fn replicas(&self) -> Vec<Replica<'a>> {
        self.row.referring(Known::ReplicaVolume).into_iter().map(Replica::from).collect()
    }
}

/// For tests: volumes that exist nowhere.
impl Volume<'static> {
    /// A volume of this name that nobody uses or owns.
    #[must_use]
    pub fn sample(name: &str) -> Self {
        Row::sample(Table::Volumes, name).into()
    }

    /// The app of this name uses it.
    #[must_use]
    pub fn of(self, app: &str) -> Self {
        self.with("app", id(app).into())
    }

    /// The node of this name owns it.
    #[must_use]
    pub fn on(self, node: &str) -> Self {
        self.with("node", id(node).into())
    }

    /// Somebody was last seen to write to it then.
    #[must_use]
    pub fn with_written(self, at: Timestamp) -> Self {
        self.with("written-ms", at.0)
    }

    /// Its newest snapshot was taken then.
    #[must_use]
    pub fn with_snapshot(self, at: Timestamp) -> Self {
        self.with("snapshot-ms", at.0)
    }
}

/// A read-only copy of a volume on another node. In tests, make one with [`Replica::sample`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replica<'a> {
    pub(crate) row: Row<'a>,
}

kind_of_row!(Replica, "replicas");

impl<'a> Replica<'a> {
    /// What it is a copy of.
    #[must_use]
    pub fn volume(&self) -> Option<Volume<'a>> {
        self.row.reference(Known::ReplicaVolume, Table::Volumes).map(Volume::from)
    }

    /// Who holds it.
    #[must_use]
    pub fn node(&self) -> Option<Node<'a>> {
        self.row.reference(Known::ReplicaNode, Table::Nodes).map(Node::from)
    }

    /// When the snapshot that it holds was taken; `None` where that is not known.
    #[must_use]
    pub fn taken(&self) -> Option<Timestamp> {
        self.row.known(Known::ReplicaTaken).map(Timestamp)
    }
}

/// For tests: replicas that exist nowhere.
impl Replica<'static> {
    /// A copy of the volume of this name on the node of this name.
    #[must_use]
    pub fn sample(volume: &str, node: &str) -> Self {
        Self::from(Row::sample(Table::Replicas, &format!("{volume}@{node}")))
            .with("volume", id(volume).into())
            .with("node", id(node).into())
    }

    /// The snapshot that it holds was taken then.
    #[must_use]
    pub fn with_taken(self, at: Timestamp) -> Self {
        self.with("taken-ms", at.0)
    }
}
