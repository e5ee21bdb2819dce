"""What authors implement: a policy, and the hooks that it has an opinion on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from .answers import Droppable, Due, Move, Score, Verdict
from .questions import Copied, Incident, Request
from .rows import App, Cluster, Node, Volume
from .settings import settings_type


class Policy(ABC):
    """What every policy has. One object answers many questions, one after the other; its answers must follow from the
    question alone, so that a decision can be replayed.

    A policy with settings annotates them with a dataclass of its own, `settings: Settings`. The JSON schema follows from
    the dataclass; the host checks what the operator wrote against it. A policy without has none, and refuses any."""

    settings: Any

    def __init__(self, settings: Any = None) -> None:
        """Settings as the operator gave them; without, all defaults. A ValueError refuses them: the plugin is then not
        loaded, and the operator reads its message."""
        kind = settings_type(type(self))
        self.settings = kind() if settings is None and kind is not None else settings


class Placement(Policy):
    """Says where an app should be."""

    @abstractmethod
    def score(self, node: Node, request: Request) -> Score:
        """How good a node would be."""

    def score_all(self, nodes: Sequence[Node], request: Request) -> Sequence[Score]:
        """The same for all candidates at once, for policies that compare nodes. As many scores as nodes, in their order."""
        return [self.score(node, request) for node in nodes]


class Rebalance(Policy):
    """Says which apps had better be elsewhere, for the cluster's sake rather than their own."""

    @abstractmethod
    def plan(self, cluster: Cluster, movable: Sequence[App], max_moves: int) -> Sequence[Move]:
        """The moves that it would make, at most `max_moves` of them. Only apps in `movable` may be moved, each once; a
        target has to satisfy the hard rules and every placement policy as well."""


class Failover(Policy):
    """Says what becomes of the volumes of a node that stays silent."""

    @abstractmethod
    def decide(self, cluster: Cluster, incident: Incident, volume: Volume) -> Verdict:
        """What to do with one of its volumes. Nothing is promoted before the node is fenced and enough others agree that it
        is silent, whatever the answer."""


class Backups(Policy):
    """Says what is to be snapshotted or backed up when, and which copies may go."""

    @abstractmethod
    def due(
        self, cluster: Cluster, volume: Volume, now: datetime, horizon: timedelta
    ) -> Sequence[Due]:
        """What is due for a volume until `now + horizon`; what is due later is left for the next time."""

    def ask_again(self, horizon: timedelta) -> timedelta:
        """After what time it wants to be asked again, though the host may ask earlier."""
        return horizon

    def prune(
        self, volume: Volume, lane: str, copies: Sequence[Copied], now: datetime
    ) -> Sequence[Droppable]:
        """Which of a volume's copies in a lane may go, oldest first in `copies`. Unless overridden, all are kept: a copy
        goes only if every policy says so."""
        return []
