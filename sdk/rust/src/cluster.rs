//! The cluster at the moment of the question.

use crate::{
    App, Node, Replica, Volume,
    table::{Sample, Table, Tables},
};

/// Everything that is known of the cluster. In tests, make one with [`Cluster::sample`].
#[derive(Clone, Copy)]
pub struct Cluster<'a> {
    pub(crate) tables: &'a Tables<'a>,
}

impl std::fmt::Debug for Cluster<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").finish_non_exhaustive()
    }
}

impl<'a> Cluster<'a> {
    /// All nodes, in alphabetical order.
    #[must_use]
    pub fn nodes(&self) -> Vec<Node<'a>> {
        self.rows(Table::Nodes)
    }

    /// All apps, in alphabetical order.
    #[must_use]
    pub fn apps(&self) -> Vec<App<'a>> {
        self.rows(Table::Apps)
    }

    /// All volumes, in alphabetical order.
    #[must_use]
    pub fn volumes(&self) -> Vec<Volume<'a>> {
        self.rows(Table::Volumes)
    }

    /// All replicas of all volumes.
    #[must_use]
    pub fn replicas(&self) -> Vec<Replica<'a>> {
        self.rows(Table::Replicas)
    }

    fn rows<T: From<crate::table::Row<'a>>>(&self, table: Table) -> Vec<T> {
        self.tables.rows(table).into_iter().map(T::from).collect()
    }
}

impl Cluster<'static> {
    /// For tests: a cluster of these rows. What they say of each other by name (`App::sample("shop").on("a")`) leads from
    /// one to the other.
    ///
    /// # Panics
    /// When two rows of a kind have the same name.
    #[must_use]
    #[track_caller]
    pub fn sample(
        nodes: impl IntoIterator<Item = Node<'static>>,
        apps: impl IntoIterator<Item = App<'static>>,
        volumes: impl IntoIterator<Item = Volume<'static>>,
        replicas: impl IntoIterator<Item = Replica<'static>>,
    ) -> Self {
        let mut sample = Sample::default();
        let rows = (nodes.into_iter().map(|n| n.row))
            .chain(apps.into_iter().map(|a| a.row))
            .chain(volumes.into_iter().map(|v| v.row))
            .chain(replicas.into_iter().map(|r| r.row));
        for row in rows {
            sample.add(&row);
        }
        Self { tables: Tables::of_sample(sample) }
    }

    /// For tests: the node of this name.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    #[track_caller]
    pub fn node(&self, name: &str) -> Node<'static> {
        named(self.nodes(), Node::name, name)
    }

    /// For tests: the app of this name.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    #[track_caller]
    pub fn app(&self, name: &str) -> App<'static> {
        named(self.apps(), App::name, name)
    }

    /// For tests: the volume of this name.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    #[track_caller]
    pub fn volume(&self, name: &str) -> Volume<'static> {
        named(self.volumes(), Volume::name, name)
    }
}

#[track_caller]
fn named<T>(rows: Vec<T>, name_of: impl Fn(&T) -> String, name: &str) -> T {
    let found = rows.into_iter().find(|row| name_of(row) == name);
    found.unwrap_or_else(|| panic!("no row of this sample has the name `{name}`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;

    fn cluster() -> Cluster<'static> {
        Cluster::sample(
            [Node::sample("b"), Node::sample("a")],
            [App::sample("shop").on("a"), App::sample("news").on("b")],
            [Volume::sample("data").of("shop").on("a")],
            [Replica::sample("data", "b").with_taken(Timestamp(7))],
        )
    }

    #[test]
    fn rows_lead_to_each_other_in_both_directions() {
        let cluster = cluster();
        let (a, shop, data) = (cluster.node("a"), cluster.app("shop"), cluster.volume("data"));

        assert_eq!(shop.node().as_ref(), Some(&a));
        assert_eq!(a.residents(), cluster.apps()[1..]);
        assert_eq!(data.app().as_ref(), Some(&shop));
        assert_eq!(shop.volumes(), cluster.volumes());
        let replicas = data.replicas();
        assert_eq!(replicas, cluster.replicas());
        assert_eq!(replicas[0].node(), Some(cluster.node("b")));
        assert_eq!(replicas[0].volume(), Some(data));
        assert_eq!(replicas[0].taken(), Some(Timestamp(7)));
    }

    #[test]
    fn rows_are_in_alphabetical_order_as_on_a_node() {
        let names: Vec<_> = cluster().nodes().iter().map(Node::name).collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn a_row_that_is_alone_refers_to_nothing() {
        let shop = App::sample("shop").on("a");
        assert_eq!(shop.node(), None);
        assert_eq!(shop.volumes(), []);
    }

    #[test]
    #[should_panic(expected = "have the name `a`")]
    fn two_nodes_of_one_name_are_a_mistake_in_the_test() {
        let _cluster = Cluster::sample([Node::sample("a"), Node::sample("a")], [], [], []);
    }
}
