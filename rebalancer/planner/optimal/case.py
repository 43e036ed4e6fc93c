"""What the solver is asked at given prices, and what it answers: arrays that both sides share."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rebalancer.planner.optimal.compiled import compiled
from rebalancer.planner.optimal.graph import Floats, Graph


class Case(NamedTuple):
    """A part of all plans: what its choices cost and what it allows.

    ``charge[k, d]`` is what using direction ``d`` of pool ``k`` costs: 0 for free, inf for never.
    ``low`` and ``high`` bound the stakes. ``fee`` is what selling an asset net costs: 0 for free,
    inf for never, below 0 for what has been decided; ``least`` is the least of it that is sold if
    any is, ``top`` the most of it that there may be.
    """

    charge: Floats  # (K, 2)
    low: Floats  # (L,)
    high: Floats  # (L,)
    fee: Floats  # (n,)
    least: Floats  # (n,)
    top: Floats  # (n,)


class Best(NamedTuple):
    """What is best at given prices, gas apart.

    ``swap`` is of each pool the side that is sold, what that earns, its input, its output, and
    whether it earns its charge; ``burn`` the burned fraction and ``moved`` what burning and minting
    earn; ``sale`` what selling an asset earns beyond its fee, -inf where it is better kept.
    """

    swap: Floats  # (K, 5)
    burn: Floats  # (L,)
    moved: Floats  # (L, 2)
    sale: Floats  # (n,)


@compiled
def empty(graph: Graph) -> Best:
    """Room for what ``minimise`` finds."""
    pools, stakes = graph.gamma.size, graph.stake_held.size
    return Best(
        np.zeros((pools, 5)),
        np.zeros(stakes),
        np.zeros((stakes, 2)),
        np.full(graph.held.size, -np.inf),
    )
