"""A search tree cut to what its certificate needs: few leaves that prove almost as much as all.

Each node's own prices bound all plans of its part, so a subtree may be replaced by its top wherever
that bound is good enough. What is lost by it is part of the gap that the certificate states.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from rebalancer.planner.optimal.certificate import Planned
from rebalancer.planner.optimal.tree import Node

#: How much of the proved gap may be given away for fewer leaves.
_GIVEN_AWAY = 0.1
#: What all leaves together may take: bytes of prices, and assets and pools to be summed over anew
#: by whoever checks them, which takes some fifty microseconds each.
_MOST_BYTES, _MOST_SUMMED = 200_000, 12_000
#: Bytes of a price, and of what names a leaf and the decision above it.
_PRICE_BYTES, _LEAF_BYTES = 20, 160


@dataclass(frozen=True, slots=True)
class _Part:
    """A node and its parts; bounds are shares of NAV."""

    node: Node
    parts: tuple[_Part, ...] = ()

    @property
    def bound(self) -> float:
        """What its own prices prove."""
        return self.node.upper

    def leaves(self, good: float) -> int:
        """How many leaves are needed for no bound above ``good``, where the tree has that."""
        if self.bound <= good or not self.parts:
            return 1
        return sum(part.leaves(good) for part in self.parts)

    def upper(self, good: float) -> float:
        """The largest bound of these leaves."""
        if self.bound <= good or not self.parts:
            return self.bound
        return max(part.upper(good) for part in self.parts)

    def cut(self, good: float) -> Node:
        """The tree of these leaves."""
        if self.bound <= good or not self.parts:
            return Node(self.node.prices, self.node.upper, self.bound)
        used, unused = (part.cut(good) for part in self.parts)
        above = max(used.proved, unused.proved)
        return Node(self.node.prices, self.node.upper, above, self.node.item, used, unused)

    def bounds(self) -> list[float]:
        """All bounds of the tree."""
        return [self.bound, *(x for part in self.parts for x in part.bounds())]


def shortened(planned: Planned) -> Planned:
    """The plan with the smallest tree that keeps its gap to a tenth, in as much as may be written.

    Where so many leaves are too many the bound is the least that as many as are allowed can prove.
    """
    answer, made = planned.answer, planned.statement
    whole = _part(answer.root)
    gap = max(planned.gap_e8, 0) / made.nav_e8
    good = max(whole.upper(-np.inf), answer.hold) + _GIVEN_AWAY * gap
    most = most_leaves(planned)
    if whole.leaves(good) > most:
        steps = sorted({x for x in whole.bounds() if x > good})
        low, high = 0, len(steps) - 1
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if whole.leaves(steps[middle]) <= most else (middle + 1, high)
        good = steps[low]
    root = whole.cut(good)
    return replace(planned, answer=replace(answer, root=root, bound=root.proved))


def most_leaves(planned: Planned) -> int:
    """How many leaves a certificate of this problem may have."""
    made = planned.statement
    prices = len(made.assets) + len(made.factors)
    few = _MOST_BYTES // (_PRICE_BYTES * prices + _LEAF_BYTES)
    return max(min(few, _MOST_SUMMED // (prices + len(made.pools))), 1)


def _part(node: Node) -> _Part:
    if node.used is None or node.unused is None:
        return _Part(node)
    return _Part(node, (_part(node.used), _part(node.unused)))
