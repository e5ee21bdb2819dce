import unittest

from flocker_sdk import Node, Request
from policy import Settings, Weights, WeightsPolicy


def node(name: str, **has: int) -> Node:
    whole = {"memory": 100, "cpu_millis": 1000, "pool": 100, "pool_free": 100}
    return Node.sample(name, **{**whole, **has})


class Test(unittest.TestCase):
    def test_an_empty_node_is_perfect(self) -> None:
        self.assertEqual(10_000, WeightsPolicy().score(node("a"), Request.sample("shop")).points)

    def test_what_counts_more_decides(self) -> None:
        little_memory, little_cpu = node("a", memory_promised=80), node("b", cpu_promised_millis=800)
        app = Request.sample("shop")
        for weights, better, worse in [
            (Weights(memory=5, cpu=1), little_cpu, little_memory),
            (Weights(memory=1, cpu=5), little_memory, little_cpu),
        ]:
            policy = WeightsPolicy(Settings(weights))
            self.assertGreater(policy.score(better, app).points, policy.score(worse, app).points)

    def test_an_app_is_not_counted_twice_where_it_is(self) -> None:
        here = node("a", memory_promised=50)
        app = Request.sample("shop", memory=50, at=here)
        elsewhere = Request.sample("shop", memory=50)
        policy = WeightsPolicy()
        self.assertGreater(policy.score(here, app).points, policy.score(here, elsewhere).points)

    def test_what_an_app_needs_caps_the_score(self) -> None:
        busy = node("a", cpu_promised_millis=900)
        app = Request.sample("shop", labels={"needs": "cpu"})
        self.assertEqual(1000, WeightsPolicy().score(busy, app).points)

    def test_a_need_that_nobody_knows_is_refused_by_its_name(self) -> None:
        refused = WeightsPolicy().score(node("a"), Request.sample("shop", labels={"needs": "gpu"}))
        self.assertTrue(refused.is_refusal)
        self.assertIn("'gpu'", refused.reason or "")

    def test_weights_that_weigh_nothing_are_refused(self) -> None:
        with self.assertRaisesRegex(ValueError, "all weights are 0"):
            Weights(0, 0, 0, 0)
