import unittest

from flocker_sdk import App, Cluster, Node
from policy import {{type}}


def cluster(apps_on_a: int) -> Cluster:
    nodes = [Node.sample("a", apps=apps_on_a), Node.sample("b", apps=1)]
    return Cluster.sample(nodes, [App.sample("shop", node="a")])


class Test(unittest.TestCase):
    def test_nothing_moves_for_a_difference_of_one(self) -> None:
        even = cluster(2)
        self.assertEqual([], {{type}}().plan(even, even.apps, 5))

    def test_an_app_leaves_the_crowd(self) -> None:
        uneven = cluster(3)
        (move,) = {{type}}().plan(uneven, uneven.apps, 5)
        self.assertEqual(uneven.node("b"), move.target)
