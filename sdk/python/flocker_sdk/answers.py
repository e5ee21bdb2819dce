"""What a policy says: scores, moves, verdicts, what is due and what may go."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from .questions import Copied
from .rows import App, Node, Replica

SCORE_MAX = 10_000
"""The best score."""

SNAPSHOT = "snapshot"
"""The lane of snapshots on the owner's node."""


@dataclass(frozen=True)
class Score:
    """How good a node would be, or that it must not be taken. The scale is absolute and shared by all policies: an app is
    moved by itself only if another node is better by 2000 points."""

    points: int
    """From 0 to 10000; -1 is a refusal."""
    reason: str | None = None
    """Why."""
    code: int = 0
    """A number for the reason: one of wit/codes.md, or one of your own from 1000 on."""

    @classmethod
    def good(cls, points: int | float) -> Score:
        """From 0 (as bad as it gets, but possible) to 10000 (perfect). What lies outside counts as the end that it passed."""
        return cls(max(0, min(int(points), SCORE_MAX)))

    @classmethod
    def share(cls, part: int | float, whole: int | float) -> Score:
        """`part` of `whole` as a score: 3 of 4 is 7500. 0 when there is no whole."""
        return cls.good(part * SCORE_MAX // whole if whole > 0 else 0)

    @classmethod
    def refuse(cls, why: str, *, code: int = 0) -> Score:
        """The node must not be taken, and this is why. One policy's refusal is final."""
        return cls(-1, why, code)

    def because(self, why: str, *, code: int = 0) -> Score:
        """Says why; `flocker explain` shows it."""
        return replace(self, reason=why, code=code)

    @property
    def is_refusal(self) -> bool:
        """Whether the node must not be taken."""
        return self.points < 0


@dataclass(frozen=True)
class Move:
    """An app had better be elsewhere."""

    app: App
    target: Node
    gain: float
    """How much better the cluster is for it; compared only with your own other moves, the largest first."""
    reason: str = ""
    """Why; `flocker explain` shows it."""


@dataclass(frozen=True)
class Verdict:
    """What to do with a volume of a silent node. Of several policies the most careful counts: freeze, then wait, then
    promote."""

    code: int
    """As in wit/codes.md: 0 waits, 1 promotes, 2 freezes."""
    replica: Replica | None = None
    again: timedelta = timedelta()
    reason: str = ""

    @classmethod
    def wait(cls, again: timedelta, why: str = "") -> Verdict:
        """Ask again after this time."""
        return cls(0, again=again, reason=why)

    @classmethod
    def promote(cls, replica: Replica, why: str = "") -> Verdict:
        """Make this replica the owner's copy. What was written after its snapshot is lost."""
        return cls(1, replica=replica, reason=why)

    @classmethod
    def freeze(cls, why: str) -> Verdict:
        """Leave it to an operator, and this is why."""
        return cls(2, reason=why)

    @property
    def is_freeze(self) -> bool:
        """Whether it leaves the volume to an operator."""
        return self.code == 2

    @property
    def waits(self) -> timedelta | None:
        """How long it waits, if it does."""
        return self.again if self.code == 0 else None

    def promotes(self, replica: Replica) -> bool:
        """Whether it promotes this replica."""
        return self.code == 1 and self.replica == replica


@dataclass(frozen=True)
class Due:
    """Something to be done about a volume. Of several policies, everything that one of them finds due is done."""

    at: datetime
    """When; now, if that has passed."""
    lane: str
    """What: "snapshot", "replicate", or the name of a repository."""
    label: str = ""
    """For people, and for the policy itself when it prunes."""

    @classmethod
    def snapshot(cls, at: datetime, label: str = "") -> Due:
        """A snapshot at this moment; the label says what for."""
        return cls(at, SNAPSHOT, label)


@dataclass(frozen=True)
class Droppable:
    """A copy that may go. It goes only if every policy says so."""

    copy: Copied
    """One of the copies of the question."""
    reason: str
    """For people."""
