import unittest
from datetime import UTC, datetime, timedelta

from flocker_sdk import Copied, Volume
from policy import {{type}}


class Test(unittest.TestCase):
    def test_the_newest_are_kept(self) -> None:
        first = datetime(2026, 1, 1, tzinfo=UTC)
        copies = [Copied.sample(first + timedelta(hours=n)) for n in range(30)]

        gone = {{type}}().prune(Volume.sample("shop.data"), "snapshot", copies, first)

        self.assertEqual(copies[:6], [droppable.copy for droppable in gone])
