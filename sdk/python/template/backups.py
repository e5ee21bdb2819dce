"""Says what is snapshotted when, and which copies may go: here, one snapshot per hour, and the last 24 are kept."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from flocker_sdk import Backups, Cluster, Copied, Droppable, Due, Volume

HOUR = timedelta(hours=1)
KEPT = 24


class {{type}}(Backups):
    def due(
        self, cluster: Cluster, volume: Volume, now: datetime, horizon: timedelta
    ) -> Sequence[Due]:
        at = volume.snapshot + HOUR if volume.snapshot else now
        return [] if at - now > horizon else [Due.snapshot(at, "hourly")]

    def prune(
        self, volume: Volume, lane: str, copies: Sequence[Copied], now: datetime
    ) -> Sequence[Droppable]:
        return [Droppable(copy, f"the last {KEPT} are kept") for copy in copies[:-KEPT]]
