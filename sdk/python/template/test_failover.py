import unittest
from datetime import UTC, datetime, timedelta

from flocker_sdk import Cluster, Incident, Node, Volume
from policy import {{type}}


class Test(unittest.TestCase):
    def test_a_volume_without_a_copy_is_left_to_an_operator(self) -> None:
        node = Node.sample("a")
        cluster = Cluster.sample([node], volumes=[Volume.sample("shop.data", node="a")])
        incident = Incident.sample(node, datetime(2026, 1, 1, tzinfo=UTC), timedelta(minutes=2))

        verdict = {{type}}().decide(cluster, incident, cluster.volume("shop.data"))

        self.assertTrue(verdict.is_freeze, verdict)
