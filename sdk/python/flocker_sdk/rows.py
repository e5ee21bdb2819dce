"""The cluster as a policy sees it: nodes, apps, volumes and replicas that lead to each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Self, TypeVar

from .tables import SampleTables, Tables, place_of
from .time import millis_since_epoch, moment

RowT = TypeVar("RowT", bound="Row")


class Row:
    """A row of a table. Two are the same if they have the same place in the same table."""

    __slots__ = ("_tables", "_place")
    _table = ""

    def __init__(self, tables: Tables, place: int) -> None:
        self._tables = tables
        self._place = place

    def number(self, column: str) -> int | None:
        """Any number column of the row's table (wit/columns.md); None where it is missing."""
        return self._tables.number(self._table, column, self._place)

    def text(self, column: str) -> str | None:
        """Any text column of the row's table; None where it is missing."""
        return self._tables.text(self._table, column, self._place)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Row) and (self._table, self._place) == (other._table, other._place)

    def __hash__(self) -> int:
        return hash((self._table, self._place))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.text('name') or self._place}>"

    def _moment(self, column: str) -> datetime | None:
        at = self.number(column)
        return None if at is None else moment(at)

    def _reference(self, column: str, kind: type[RowT]) -> RowT | None:
        place = self.number(column)
        if place is None or not self._tables.has(kind._table, place):
            return None
        return kind(self._tables, place)

    def _referring(self, kind: type[RowT], column: str) -> list[RowT]:
        places = self._tables.referring(kind._table, column, self._place)
        return [kind(self._tables, place) for place in places]

    @classmethod
    def _sample(cls, name: str, cells: Mapping[str, int | str | None]) -> Self:
        tables = SampleTables()
        given = {column: cell for column, cell in cells.items() if cell is not None}
        tables.add(cls._table, place_of(name), {"name": name, **given})
        return cls(tables, place_of(name))


def _labels(labels: Mapping[str, str]) -> dict[str, int | str]:
    return {f"label:{key}": value for key, value in labels.items()}


def _millis(at: datetime | None) -> int | None:
    return None if at is None else millis_since_epoch(at)


class Node(Row):
    """A node. In tests, make one with `Node.sample`."""

    __slots__ = ()
    _table = "nodes"

    @property
    def name(self) -> str:
        """Its name."""
        return self.text("name") or ""

    @property
    def is_alive(self) -> bool:
        """Whether it answered lately."""
        return bool(self.number("alive"))

    @property
    def is_draining(self) -> bool:
        """Whether an operator wants it empty."""
        return bool(self.number("draining"))

    @property
    def memory(self) -> int:
        """Memory of the machine, in bytes; 0 while it has not said."""
        return self.number("memory-bytes") or 0

    @property
    def memory_free(self) -> int:
        """Memory that no app was promised, in bytes."""
        return self.number("memory-free-bytes") or 0

    @property
    def memory_promised(self) -> int:
        """Memory that apps were promised, in bytes."""
        return self.number("memory-promised-bytes") or 0

    @property
    def cpu_millis(self) -> int:
        """CPUs of the machine, in thousandths."""
        return self.number("cpu-millis") or 0

    @property
    def cpu_promised_millis(self) -> int:
        """CPU that apps were promised, in thousandths."""
        return self.number("cpu-promised-millis") or 0

    @property
    def pool(self) -> int:
        """Size of its storage pool, in bytes."""
        return self.number("pool-bytes") or 0

    @property
    def pool_free(self) -> int:
        """What is free in its storage pool, in bytes."""
        return self.number("pool-free-bytes") or 0

    @property
    def load_millis(self) -> int:
        """One-minute load average, in thousandths."""
        return self.number("load-millis") or 0

    @property
    def apps(self) -> int:
        """How many apps it holds, arriving ones included."""
        return self.number("apps") or 0

    @property
    def volumes(self) -> int:
        """How many volumes it owns."""
        return self.number("volumes") or 0

    @property
    def residents(self) -> list[App]:
        """The apps that it holds, arriving ones included."""
        return self._referring(App, "node")

    def label(self, key: str) -> str | None:
        """A label, from its configuration or from an operator."""
        return self.text(f"label:{key}")

    @classmethod
    def sample(
        cls,
        name: str,
        *,
        alive: bool = True,
        draining: bool = False,
        memory: int = 0,
        memory_promised: int = 0,
        cpu_millis: int = 0,
        cpu_promised_millis: int = 0,
        pool: int = 0,
        pool_free: int = 0,
        load_millis: int = 0,
        apps: int = 0,
        volumes: int = 0,
        labels: Mapping[str, str] = {},
        columns: Mapping[str, int | str] = {},
    ) -> Node:
        """For tests: a node that exists nowhere. `columns` sets any others of wit/columns.md."""
        return cls._sample(
            name,
            {
                "alive": int(alive),
                "draining": int(draining),
                "memory-bytes": memory,
                "memory-promised-bytes": memory_promised,
                "memory-free-bytes": max(0, memory - memory_promised),
                "cpu-millis": cpu_millis,
                "cpu-promised-millis": cpu_promised_millis,
                "pool-bytes": pool,
                "pool-free-bytes": pool_free,
                "load-millis": load_millis,
                "apps": apps,
                "volumes": volumes,
                **_labels(labels),
                **columns,
            },
        )


class App(Row):
    """An app. In tests, make one with `App.sample`."""

    __slots__ = ()
    _table = "apps"

    @property
    def name(self) -> str:
        """Its name."""
        return self.text("name") or ""

    @property
    def node(self) -> Node | None:
        """Where it is."""
        return self._reference("node", Node)

    @property
    def memory(self) -> int:
        """Memory that it may use, in bytes; 0 where it is not limited."""
        return self.number("memory-bytes") or 0

    @property
    def cpu_millis(self) -> int:
        """CPU that it may use, in thousandths; 0 where it is not limited."""
        return self.number("cpu-millis") or 0

    @property
    def size(self) -> int:
        """What its volumes may hold, in bytes."""
        return self.number("size-bytes") or 0

    @property
    def placed(self) -> datetime | None:
        """When it came to its node."""
        return self._moment("placed-ms")

    @property
    def volumes(self) -> list[Volume]:
        """Its volumes."""
        return self._referring(Volume, "app")

    def label(self, key: str) -> str | None:
        """A label of its containers."""
        return self.text(f"label:{key}")

    @classmethod
    def sample(
        cls,
        name: str,
        *,
        node: str | None = None,
        memory: int = 0,
        cpu_millis: int = 0,
        size: int = 0,
        placed: datetime | None = None,
        labels: Mapping[str, str] = {},
        columns: Mapping[str, int | str] = {},
    ) -> App:
        """For tests: an app that exists nowhere. `node` is the name of one."""
        return cls._sample(
            name,
            {
                "node": None if node is None else place_of(node),
                "memory-bytes": memory,
                "cpu-millis": cpu_millis,
                "size-bytes": size,
                "placed-ms": _millis(placed),
                **_labels(labels),
                **columns,
            },
        )


class Volume(Row):
    """A volume. In tests, make one with `Volume.sample`."""

    __slots__ = ()
    _table = "volumes"

    @property
    def name(self) -> str:
        """Its name."""
        return self.text("name") or ""

    @property
    def app(self) -> App | None:
        """The app that uses it."""
        return self._reference("app", App)

    @property
    def node(self) -> Node | None:
        """Its owner."""
        return self._reference("node", Node)

    @property
    def size(self) -> int:
        """What may be written to it, in bytes."""
        return self.number("size-bytes") or 0

    @property
    def used(self) -> int:
        """What is written to it, in bytes."""
        return self.number("used-bytes") or 0

    @property
    def written(self) -> datetime | None:
        """When somebody was last seen to write to it."""
        return self._moment("written-ms")

    @property
    def snapshot(self) -> datetime | None:
        """When its newest snapshot by schedule was taken."""
        return self._moment("snapshot-ms")

    @property
    def replicas(self) -> list[Replica]:
        """Its copies on other nodes."""
        return self._referring(Replica, "volume")

    @classmethod
    def sample(
        cls,
        name: str,
        *,
        app: str | None = None,
        node: str | None = None,
        size: int = 0,
        used: int = 0,
        written: datetime | None = None,
        snapshot: datetime | None = None,
        columns: Mapping[str, int | str] = {},
    ) -> Volume:
        """For tests: a volume that exists nowhere. `app` and `node` are names."""
        return cls._sample(
            name,
            {
                "app": None if app is None else place_of(app),
                "node": None if node is None else place_of(node),
                "size-bytes": size,
                "used-bytes": used,
                "written-ms": _millis(written),
                "snapshot-ms": _millis(snapshot),
                **columns,
            },
        )


class Replica(Row):
    """A read-only copy of a volume on another node. In tests, make one with `Replica.sample`."""

    __slots__ = ()
    _table = "replicas"

    @property
    def volume(self) -> Volume | None:
        """What it is a copy of."""
        return self._reference("volume", Volume)

    @property
    def node(self) -> Node | None:
        """Where it is."""
        return self._reference("node", Node)

    @property
    def taken(self) -> datetime | None:
        """When the snapshot that it holds was taken."""
        return self._moment("taken-ms")

    @classmethod
    def sample(cls, volume: str, node: str, *, taken: datetime | None = None) -> Replica:
        """For tests: a copy of the volume of this name on the node of this name."""
        return cls._sample(
            f"{volume}@{node}",
            {"volume": place_of(volume), "node": place_of(node), "taken-ms": _millis(taken)},
        )


class Cluster:
    """Everything that is known of the cluster. In tests, make one with `Cluster.sample`."""

    __slots__ = ("_tables",)

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    @property
    def nodes(self) -> list[Node]:
        """All nodes, in alphabetical order."""
        return self._rows(Node)

    @property
    def apps(self) -> list[App]:
        """All apps, in alphabetical order."""
        return self._rows(App)

    @property
    def volumes(self) -> list[Volume]:
        """All volumes, in alphabetical order."""
        return self._rows(Volume)

    @property
    def replicas(self) -> list[Replica]:
        """All replicas of all volumes."""
        return self._rows(Replica)

    def node(self, name: str) -> Node:
        """The node of this name. KeyError if there is none."""
        return _named(self.nodes, name)

    def app(self, name: str) -> App:
        """The app of this name. KeyError if there is none."""
        return _named(self.apps, name)

    def volume(self, name: str) -> Volume:
        """The volume of this name. KeyError if there is none."""
        return _named(self.volumes, name)

    def _rows(self, kind: type[RowT]) -> list[RowT]:
        return [kind(self._tables, place) for place in self._tables.places(kind._table)]

    @classmethod
    def sample(
        cls,
        nodes: Iterable[Node] = (),
        apps: Iterable[App] = (),
        volumes: Iterable[Volume] = (),
        replicas: Iterable[Replica] = (),
    ) -> Cluster:
        """For tests: a cluster of these samples. What they say of each other by name leads from one to the other."""
        tables = SampleTables()
        for row in (*nodes, *apps, *volumes, *replicas):
            if not isinstance(row._tables, SampleTables):
                raise TypeError(f"{row!r} is not a sample")
            tables.add(row._table, row._place, row._tables.cells(row._table, row._place))
        return cls(tables)


def _named(rows: list[RowT], name: str) -> RowT:
    for row in rows:
        if row.text("name") == name:
            return row
    raise KeyError(name)
