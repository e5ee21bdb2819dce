"""Write a policy for flocker-runtime in Python: subclass the hooks that you have an opinion on, and build a component with
`python -m flocker_sdk.build`. The README beside this package goes through it step by step.

    from flocker_sdk import Node, Placement, Request, Score

    class MostMemory(Placement):
        \"\"\"Prefers the node with the most free memory.\"\"\"

        def score(self, node: Node, request: Request) -> Score:
            if node.memory_free < request.memory:
                return Score.refuse("too little memory")
            return Score.share(node.memory_free, node.memory)
"""

from .answers import SCORE_MAX, SNAPSHOT, Droppable, Due, Move, Score, Verdict
from .policy import Backups, Failover, Placement, Policy, Rebalance
from .questions import Copied, Incident, Request
from .rows import App, Cluster, Node, Replica, Volume

__all__ = [
    "SCORE_MAX",
    "SNAPSHOT",
    "App",
    "Backups",
    "Cluster",
    "Copied",
    "Droppable",
    "Due",
    "Failover",
    "Incident",
    "Move",
    "Node",
    "Placement",
    "Policy",
    "Rebalance",
    "Replica",
    "Request",
    "Score",
    "Verdict",
    "Volume",
]
