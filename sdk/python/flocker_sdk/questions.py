"""What a policy is asked about, beside the cluster: a request for a place, an incident, copies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from .rows import Node


@dataclass(frozen=True, kw_only=True)
class Request:
    """Which app needs a place, and what it needs. In tests, start from `Request.sample`."""

    name: str
    """The app's name."""
    purpose: str = "create"
    """Why it is asked: create, operator, drain or rebalance."""
    memory: int = 0
    """Memory that it may use, in bytes; 0 where it is not limited."""
    cpu_millis: int = 0
    """CPU that it may use, in thousandths; 0 where it is not limited."""
    size: int = 0
    """What its volumes may hold, in bytes."""
    volumes: int = 0
    """How many volumes it has. The node where it is counts them among its own."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """The labels of its containers."""
    _current: int | None = None
    _holders: frozenset[int] = frozenset()

    def label(self, key: str) -> str | None:
        """A label of its containers."""
        return self.labels.get(key)

    def is_at(self, node: Node) -> bool:
        """Whether it is on this node now. What it uses there is among what the node has promised."""
        return self._current == node._place

    def is_held_by(self, node: Node) -> bool:
        """Whether this node holds a copy of its data, so that less has to travel."""
        return self.is_at(node) or node._place in self._holders

    @classmethod
    def sample(
        cls,
        name: str,
        *,
        purpose: str = "create",
        memory: int = 0,
        cpu_millis: int = 0,
        size: int = 0,
        volumes: int = 0,
        labels: Mapping[str, str] = {},
        at: Node | None = None,
        held_by: tuple[Node, ...] = (),
    ) -> Request:
        """For tests: an app that is on the node `at`, if any, and whose data these nodes hold."""
        return cls(
            name=name,
            purpose=purpose,
            memory=memory,
            cpu_millis=cpu_millis,
            size=size,
            volumes=volumes,
            labels=dict(labels),
            _current=None if at is None else at._place,
            _holders=frozenset(node._place for node in held_by),
        )


@dataclass(frozen=True, kw_only=True)
class Incident:
    """A node that does not answer. In tests, make one with `Incident.sample`."""

    node: Node
    """The node."""
    now: datetime
    """When the question is asked."""
    silent: timedelta
    """For how long the node has been silent."""
    is_fenced: bool
    """Whether it is certain that it cannot write any more. The host promotes nothing before it is."""
    votes: int
    """How many nodes agree that it is silent."""
    quorum: int
    """How many must agree. The host promotes nothing before they do."""

    @property
    def silent_since(self) -> datetime:
        """When the node was last heard of."""
        return self.now - self.silent

    @classmethod
    def sample(
        cls,
        node: Node,
        now: datetime,
        silent: timedelta,
        *,
        fenced: bool = True,
        votes: int = 2,
        quorum: int = 2,
    ) -> Incident:
        """For tests: this node has been silent for so long; it is fenced, and enough others agree."""
        return cls(
            node=node, now=now, silent=silent, is_fenced=fenced, votes=votes, quorum=quorum
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Copied:
    """A snapshot or a backup. Two of them are the same only if they are one."""

    tag: str
    """Its name."""
    taken: datetime
    """When it was taken."""
    label: str = ""
    """The label of what was due."""
    bytes: int = 0
    """What it refers to."""

    @classmethod
    def sample(cls, taken: datetime, *, label: str = "", bytes: int = 0) -> Copied:
        """For tests: a copy that was taken then."""
        return cls(tag=f"at-{taken.isoformat()}", taken=taken, label=label, bytes=bytes)
