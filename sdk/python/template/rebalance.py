"""Says which apps had better be elsewhere: here, one of the node that has the most, where it has the fewest neighbours."""

from collections.abc import Sequence

from flocker_sdk import App, Cluster, Move, Rebalance


class {{type}}(Rebalance):
    def plan(self, cluster: Cluster, movable: Sequence[App], max_moves: int) -> Sequence[Move]:
        usable = [node for node in cluster.nodes if node.is_alive and not node.is_draining]
        if not usable or max_moves == 0:
            return []
        most = max(usable, key=lambda node: node.apps)
        fewest = min(usable, key=lambda node: node.apps)
        # A difference of one would only change sides.
        if most.apps < fewest.apps + 2:
            return []
        why = f"{most.apps} apps there, {fewest.apps} here"
        return [Move(app, fewest, 1.0, why) for app in movable if app.node == most][:1]
