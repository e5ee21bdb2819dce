"""Weighs what is left on a node: memory, CPU, storage and idleness, each as much as the operator says. An app may say itself
what it cannot do without, by the label `needs`: `needs=cpu` lets the CPU that is left cap the score."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

from flocker_sdk import SCORE_MAX, Node, Placement, Request, Score

Weight = Annotated[float, {"minimum": 0}]


@dataclass
class Weights:
    memory: Weight = 3.0
    cpu: Weight = 2.0
    storage: Weight = 1.0
    idle: Weight = 1.0

    def __post_init__(self) -> None:
        # A schema can bound each of them, not their sum.
        if self.memory + self.cpu + self.storage + self.idle == 0:
            raise ValueError("all weights are 0, so every node would be as good as any other")


@dataclass
class Settings:
    weights: Annotated[Weights, "How much each counts, beside the others"] = field(default_factory=Weights)


def share(free: float, whole: float) -> float:
    """What is left, from 0 to 1. A node that has not said how much it has is taken for full."""
    return min(max(free / whole, 0.0), 1.0) if whole else 0.0


def memory(node: Node, added: Request | None) -> float:
    return share(node.memory_free - (added.memory if added else 0), node.memory)


def cpu(node: Node, added: Request | None) -> float:
    promised = node.cpu_promised_millis + (added.cpu_millis if added else 0)
    return share(node.cpu_millis - promised, node.cpu_millis)


def storage(node: Node, added: Request | None) -> float:
    return share(node.pool_free - (added.size if added else 0), node.pool)


def idle(node: Node, added: Request | None) -> float:
    return share(node.cpu_millis - node.load_millis, node.cpu_millis)


LEFT: dict[str, Callable[[Node, Request | None], float]] = {
    "memory": memory,
    "cpu": cpu,
    "storage": storage,
    "idle": idle,
}


class WeightsPolicy(Placement):
    settings: Settings

    def score(self, node: Node, request: Request) -> Score:
        needs = request.label("needs")
        if needs is not None and needs not in LEFT:
            return Score.refuse(f"its label `needs` is {needs!r}, not one of {', '.join(LEFT)}", code=4)
        # Where the app is already, what it uses is among what the node promised.
        added = None if request.is_at(node) else request
        left = {what: of(node, added) for what, of in LEFT.items()}
        weights = vars(self.settings.weights)
        whole = sum(left[what] * weight for what, weight in weights.items()) / sum(weights.values())
        if needs is not None:
            whole = min(whole, left[needs])
        said = ", ".join(f"{what} {part:.0%}" for what, part in left.items())
        return Score.good(whole * SCORE_MAX).because(f"left: {said}")
