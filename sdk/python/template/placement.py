"""Says where apps should be: here, where the most memory is left."""

from flocker_sdk import Node, Placement, Request, Score


class {{type}}(Placement):
    def score(self, node: Node, request: Request) -> Score:
        # Where the app is already, its memory is among the promised.
        added = 0 if request.is_at(node) else request.memory
        left = max(0, node.memory - node.memory_promised - added)
        return Score.share(left, node.memory).because(f"{node.apps} apps")
