"""Rows, and the tables behind them: what the host shows, and what tests make up."""

import unittest
from datetime import UTC, datetime, timedelta

from flocker_sdk import App, Cluster, Node, Replica, Request, Score, Volume
from flocker_sdk.tables import HostTables
from flocker_sdk.time import millis_since_epoch, moment, span

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class View:
    """A host that counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def rows(self, table: str) -> int | None:
        return 2 if table == "nodes" else None

    def u64s(self, table: str, column: str) -> list[int] | None:
        self.asked.append(column)
        return [7, 2**64 - 1] if column == "apps" else None

    def ids(self, table: str, column: str) -> list[int] | None:
        self.asked.append(column)
        return [4, 0] if column == "label:zone" else None

    def texts(self, ids: list[int]) -> list[str]:
        return [f"text {text_id}" for text_id in ids]


def cluster() -> Cluster:
    return Cluster.sample(
        [Node.sample("b"), Node.sample("a")],
        [App.sample("shop", node="a"), App.sample("news", node="b")],
        [Volume.sample("data", app="shop", node="a")],
        [Replica.sample("data", "b", taken=NOW)],
    )


class Hosts(unittest.TestCase):
    def test_a_column_is_fetched_once_and_others_never(self) -> None:
        view = View()
        a, b = Cluster(HostTables(view)).nodes
        self.assertEqual((a.apps, b.apps, b.number("apps")), (7, 0, None))
        self.assertEqual((a.label("zone"), b.label("zone")), ("text 4", None))
        self.assertIsNone(a.number("no-such-column"))
        self.assertIsNone(b.number("no-such-column"))
        self.assertEqual(view.asked, ["apps", "label:zone", "no-such-column"])


class Samples(unittest.TestCase):
    def test_rows_lead_to_each_other_in_both_directions(self) -> None:
        all_of = cluster()
        a, shop, data = all_of.node("a"), all_of.app("shop"), all_of.volume("data")
        self.assertEqual(shop.node, a)
        self.assertEqual(a.residents, [shop])
        self.assertEqual((data.app, shop.volumes), (shop, [data]))
        (replica,) = data.replicas
        self.assertEqual((replica.node, replica.volume), (all_of.node("b"), data))
        self.assertEqual(replica.taken, NOW)

    def test_rows_are_in_alphabetical_order_as_on_a_node(self) -> None:
        self.assertEqual(["a", "b"], [node.name for node in cluster().nodes])

    def test_a_row_that_is_alone_refers_to_nothing(self) -> None:
        shop = App.sample("shop", node="a")
        self.assertEqual((shop.node, shop.volumes), (None, []))

    def test_two_nodes_of_one_name_are_a_mistake_in_the_test(self) -> None:
        with self.assertRaisesRegex(ValueError, "have the name 'a'"):
            Cluster.sample([Node.sample("a"), Node.sample("a")])

    def test_a_sample_answers_with_what_it_was_given(self) -> None:
        node = Node.sample("a", memory=100, memory_promised=30, labels={"zone": ""}, columns={"x": 3})
        self.assertEqual((node.name, node.memory_free, node.cpu_millis), ("a", 70, 0))
        self.assertEqual((node.label("zone"), node.label("rack"), node.number("x")), ("", None, 3))
        self.assertTrue(node.is_alive)
        self.assertFalse(Node.sample("a", alive=False).is_alive)

    def test_an_app_is_held_where_it_is_and_where_copies_are(self) -> None:
        a, b, c = (Node.sample(name) for name in "abc")
        request = Request.sample("shop", at=a, held_by=(b,))
        self.assertEqual([request.is_at(n) for n in (a, b, c)], [True, False, False])
        self.assertEqual([request.is_held_by(n) for n in (a, b, c)], [True, True, False])


class Numbers(unittest.TestCase):
    def test_a_share_is_never_out_of_range(self) -> None:
        shares = [(3, 4, 7500), (5, 4, 10_000), (0, 0, 0), (-1, 4, 0), (2**64, 2**64, 10_000)]
        for part, whole, points in shares:
            self.assertEqual(Score.share(part, whole), Score.good(points), (part, whole))

    def test_moments_come_and_go_unchanged_and_the_far_future_is_bearable(self) -> None:
        self.assertEqual(moment(millis_since_epoch(NOW)), NOW)
        self.assertEqual(moment(2**64 - 1).year, 9999)
        self.assertGreater(span(2**64 - 1), timedelta(days=365))
        with self.assertRaisesRegex(ValueError, "no time zone"):
            millis_since_epoch(datetime(2026, 1, 1))
