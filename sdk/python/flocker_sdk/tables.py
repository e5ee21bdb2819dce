"""The cluster's tables. A column is fetched from the host when it is first asked for, once per decision, and others never:
that is what keeps a question about thousands of rows cheap."""

from __future__ import annotations

from typing import Protocol

#: What the contract writes for a number that is missing.
_MISSING = 2**64 - 1


class View(Protocol):
    """What the host shows of the cluster, as far as this SDK reads it (wit/host.wit)."""

    def rows(self, table: str) -> int | None: ...
    def u64s(self, table: str, column: str) -> list[int] | None: ...
    def ids(self, table: str, column: str) -> list[int] | None: ...
    def texts(self, ids: list[int]) -> list[str]: ...


class Tables:
    """Rows and their cells, by table, column and place. This one is empty."""

    def places(self, table: str) -> list[int]:
        """Every row of a table, in alphabetical order of the names."""
        return []

    def number(self, table: str, column: str, place: int) -> int | None:
        """A cell of a number column; None where it is missing."""
        return None

    def text(self, table: str, column: str, place: int) -> str | None:
        """A cell of a text column; None where it is missing."""
        return None

    def has(self, table: str, place: int) -> bool:
        """Whether there is such a row."""
        return False

    def __init__(self) -> None:
        self._referring: dict[tuple[str, str], dict[int, list[int]]] = {}

    def referring(self, table: str, column: str, to: int) -> list[int]:
        """The rows of `table` that refer to a row by `column`. Sorted out once, as it is asked for row by row."""
        key = (table, column)
        if key not in self._referring:
            by_target: dict[int, list[int]] = {}
            for place in self.places(table):
                target = self.number(table, column, place)
                if target is not None:
                    by_target.setdefault(target, []).append(place)
            self._referring[key] = by_target
        return self._referring[key].get(to, [])


class HostTables(Tables):
    """What the host shows."""

    def __init__(self, view: View) -> None:
        super().__init__()
        self._view = view
        self._numbers: dict[tuple[str, str], list[int] | None] = {}
        self._texts: dict[tuple[str, str], list[str | None] | None] = {}

    def places(self, table: str) -> list[int]:
        return list(range(self._view.rows(table) or 0))

    def has(self, table: str, place: int) -> bool:
        return True  # The host refers to rows that exist.

    def number(self, table: str, column: str, place: int) -> int | None:
        key = (table, column)
        if key not in self._numbers:
            self._numbers[key] = self._view.u64s(table, column)
        cells = self._numbers[key]
        if cells is None or place >= len(cells):
            return None
        cell = cells[place]
        return None if cell == _MISSING else cell

    def text(self, table: str, column: str, place: int) -> str | None:
        key = (table, column)
        if key not in self._texts:
            self._texts[key] = self._fetch_texts(table, column)
        cells = self._texts[key]
        return None if cells is None or place >= len(cells) else cells[place]

    def _fetch_texts(self, table: str, column: str) -> list[str | None] | None:
        ids = self._view.ids(table, column)
        if ids is None:
            return None
        # Many rows share few texts (a zone, a kind of disk): each crosses the border once.
        known = sorted(set(ids) - {0})
        texts = dict(zip(known, self._view.texts(known), strict=True))
        return [texts.get(text_id) for text_id in ids]


class SampleTables(Tables):
    """Made-up rows, for tests."""

    def __init__(self) -> None:
        super().__init__()
        self._rows: dict[tuple[str, int], dict[str, int | str]] = {}

    def add(self, table: str, place: int, cells: dict[str, int | str]) -> None:
        """Adds a row. Two rows of one name are a mistake in the test."""
        if (table, place) in self._rows:
            raise ValueError(f"two rows of {table} have the name {cells.get('name')!r}")
        self._rows[table, place] = cells

    def cells(self, table: str, place: int) -> dict[str, int | str]:
        return self._rows.get((table, place), {})

    def places(self, table: str) -> list[int]:
        places = [place for of, place in self._rows if of == table]
        return sorted(places, key=lambda place: str(self.cells(table, place).get("name")))

    def has(self, table: str, place: int) -> bool:
        return (table, place) in self._rows

    def number(self, table: str, column: str, place: int) -> int | None:
        cell = self.cells(table, place).get(column)
        return cell if isinstance(cell, int) else None

    def text(self, table: str, column: str, place: int) -> str | None:
        cell = self.cells(table, place).get(column)
        return cell if isinstance(cell, str) else None


_PLACES: dict[str, int] = {}


def place_of(name: str) -> int:
    """The place of made-up rows of this name, so that rows can refer to each other before all of them exist."""
    return _PLACES.setdefault(name, len(_PLACES))
