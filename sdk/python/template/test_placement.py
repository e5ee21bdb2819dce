import unittest

from flocker_sdk import Node, Request
from policy import {{type}}


class Test(unittest.TestCase):
    def test_the_emptier_node_is_better(self) -> None:
        empty = Node.sample("a", memory=100)
        full = Node.sample("b", memory=100, memory_promised=90)
        app = Request.sample("shop", memory=5)

        policy = {{type}}()

        self.assertGreater(policy.score(empty, app).points, policy.score(full, app).points)
