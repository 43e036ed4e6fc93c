"""A tree of decisions, and what its leaves prove together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from rebalancer.planner.optimal.graph import Floats


@dataclass(slots=True)
class Node:
    """A part of all plans: those within the decisions on the way to it.

    ``upper`` is what its ``prices`` bound them by. Split by ``item`` in two, or a leaf; no plan of
    it exceeds what its leaves have ``proved``.
    """

    prices: Floats
    upper: float
    proved: float = np.inf
    item: int = -1
    used: Node | None = None
    unused: Node | None = None

    def leaves(self) -> Iterator[Node]:
        """The nodes that are not split."""
        if self.used is None or self.unused is None:
            yield self
        else:
            yield from self.used.leaves()
            yield from self.unused.leaves()


def prove(node: Node) -> None:
    """Say of each node what its leaves prove; cut off what is below one that proves as much."""
    node.proved = node.upper
    if node.used is None or node.unused is None:
        return
    prove(node.used)
    prove(node.unused)
    below = max(node.used.proved, node.unused.proved)
    if node.upper <= below:
        node.item, node.used, node.unused = -1, None, None
    else:
        node.proved = below
