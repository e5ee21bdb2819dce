"""Between the component's exports and the author's class. Not for authors, and only importable in a component, or beside the
bindings that componentize-py makes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from componentize_py_types import Err
from wit_world.imports.types import Context, Failure

from . import sandbox, settings as settings_of
from .answers import Score, Verdict
from .policy import Backups, Failover, Placement, Policy, Rebalance
from .questions import Copied, Incident, Request
from .rows import App, Cluster, Node, Volume
from .tables import HostTables, View
from .time import millis, millis_since_epoch, moment, span

_U32_MAX = 2**32 - 1


class Component:
    """One policy of the author's, and the classes that componentize-py exports for it."""

    def __init__(self, kind: type[Policy], name: str, version: str) -> None:
        self._kind, self._name, self._version = kind, name, version
        self._policy: Policy | None = None

    def policy(self) -> Any:
        """The configured policy. The host configures before it asks; another one might not."""
        if self._policy is None:
            self._policy = self._kind()
        return self._policy

    def lifecycle(self) -> type:
        """What every plugin exports."""
        from wit_world.exports.lifecycle import Info

        this = self

        class Lifecycle:
            def describe(self) -> Info:
                return Info(this._name, this._version, settings_of.schema(this._kind), [])

            def configure(self, settings: str) -> None:
                with sandbox.question(0, 0):
                    try:
                        this._policy = this._kind(settings_of.read(this._kind, settings))
                        return
                    except ValueError as error:
                        message = str(error)
                # 1 is "the settings are not understood" in wit/codes.md.
                raise Err(Failure(1, message, None))

        return Lifecycle

    def placement(self) -> type:
        """The hook of `Placement`."""
        from wit_world.exports.placement import Reason, Request as Asked, Verdict as Answer

        def reasons(candidates: list[int], scores: Sequence[Score]) -> Iterator[Reason]:
            for candidate, score in zip(candidates, scores):
                if score.reason is not None:
                    yield Reason(candidate, score.code, score.reason)

        this = self

        class Placement:
            def evaluate(
                self, ctx: Context, cluster: View, req: Asked, candidates: list[int]
            ) -> Answer:
                def ask() -> Answer:
                    tables = HostTables(cluster)
                    nodes = [Node(tables, row) for row in candidates]
                    scores = this.policy().score_all(nodes, _request(req))
                    points = [score.points for score in scores]
                    return Answer(points, list(reasons(candidates, scores)), None, [])

                return _answer(ctx, ask)

        return Placement

    def rebalance(self) -> type:
        """The hook of `Rebalance`."""
        from wit_world.exports.rebalance import Move

        this = self

        class Rebalance:
            def plan(
                self, ctx: Context, cluster: View, movable: list[int], max_moves: int
            ) -> list[Move]:
                def ask() -> list[Move]:
                    tables = HostTables(cluster)
                    apps = [App(tables, row) for row in movable]
                    moves = this.policy().plan(Cluster(tables), apps, max_moves)
                    return [
                        Move(m.app._place, m.target._place, float(m.gain), m.reason, [])
                        for m in moves
                    ]

                return _answer(ctx, ask)

        return Rebalance

    def failover(self) -> type:
        """The hook of `Failover`."""
        from wit_world.exports.failover import Decision, Incident as Asked

        def decision(verdict: Verdict) -> Decision:
            replica = None if verdict.replica is None else verdict.replica._place
            again = min(millis(verdict.again), _U32_MAX)
            return Decision(verdict.code, replica, again, verdict.reason, [])

        this = self

        class Failover:
            def decide(
                self, ctx: Context, cluster: View, what: Asked, volumes: list[int]
            ) -> list[Decision]:
                def ask() -> list[Decision]:
                    tables = HostTables(cluster)
                    incident = Incident(
                        node=Node(tables, what.node),
                        now=moment(ctx.now_ms),
                        silent=span(what.silent_ms),
                        is_fenced=what.fenced,
                        votes=what.votes,
                        quorum=what.quorum,
                    )
                    whole, policy = Cluster(tables), this.policy()
                    rows = [Volume(tables, row) for row in volumes]
                    return [decision(policy.decide(whole, incident, row)) for row in rows]

                return _answer(ctx, ask)

        return Failover

    def backup_schedule(self) -> type:
        """The hook of `Backups`."""
        from wit_world.exports.backup_schedule import BackupCopy, Droppable, Due, Schedule

        this = self

        class BackupSchedule:
            def next(
                self, ctx: Context, cluster: View, volumes: list[int], horizon_ms: int
            ) -> Schedule:
                def ask() -> Schedule:
                    tables = HostTables(cluster)
                    whole, policy = Cluster(tables), this.policy()
                    now, horizon = moment(ctx.now_ms), span(horizon_ms)
                    due = [
                        Due(row, millis_since_epoch(d.at), d.lane, d.label, [])
                        for row in volumes
                        for d in policy.due(whole, Volume(tables, row), now, horizon)
                    ]
                    return Schedule(due, millis(policy.ask_again(horizon)))

                return _answer(ctx, ask)

            def prune(
                self,
                ctx: Context,
                cluster: View,
                volume: int,
                lane: str,
                copies: list[BackupCopy],
            ) -> list[Droppable]:
                def ask() -> list[Droppable]:
                    row = Volume(HostTables(cluster), volume)
                    copied = [
                        Copied(tag=c.tag, taken=moment(c.taken_ms), label=c.label, bytes=c.bytes)
                        for c in copies
                    ]
                    may_go = this.policy().prune(row, lane, copied, moment(ctx.now_ms))
                    return [Droppable(_position(copied, d.copy), d.reason) for d in may_go]

                return _answer(ctx, ask)

        return BackupSchedule


#: The hooks: the class that authors subclass, the export's name in Python, the world, and what makes the export.
HOOKS: list[tuple[type[Policy], str, Callable[[Component], type]]] = [
    (Placement, "Placement", Component.placement),
    (Rebalance, "Rebalance", Component.rebalance),
    (Failover, "Failover", Component.failover),
    (Backups, "BackupSchedule", Component.backup_schedule),
]


def exports(kind: type[Policy], name: str, version: str) -> dict[str, type]:
    """The classes that a component of this policy exports, by their names."""
    component = Component(kind, name, version)
    hooks = {export: make(component) for hook, export, make in HOOKS if issubclass(kind, hook)}
    return {"Lifecycle": component.lifecycle(), **hooks}


def _request(asked: Any) -> Request:
    labels = {a.key.removeprefix("label:"): a.value for a in asked.attrs if a.key.startswith("label:")}
    return Request(
        name=asked.name,
        purpose=asked.purpose,
        memory=asked.memory_bytes,
        cpu_millis=asked.cpu_millis,
        size=asked.size_bytes,
        volumes=len(asked.volumes),
        labels=labels,
        _current=asked.current,
        _holders=frozenset(asked.holders),
    )


def _position(copies: list[Copied], copy: Copied) -> int:
    for position, one in enumerate(copies):
        if one is copy:
            return position
    raise ValueError(f"{copy!r} is not among the copies that were asked about")


T = TypeVar("T")


def _answer(context: Context, ask: Callable[[], T]) -> T:
    """Answers a question in its world. What the author's code raises is the answer "failed"."""
    with sandbox.question(context.now_ms, context.seed):
        try:
            return ask()
        except Exception as error:
            message = sandbox.failed(error)
    # Not in there: it cannot be changed, which Python does with what leaves a `with`.
    raise Err(Failure(0, message, None))
