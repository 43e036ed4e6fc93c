"""Is doing nothing the best plan? In time proportional to the pools; mostly it is."""

from __future__ import annotations

from math import inf, sqrt
from typing import NamedTuple

import numpy as np

from rebalancer.planner.optimal.case import Case, empty
from rebalancer.planner.optimal.compiled import compiled
from rebalancer.planner.optimal.graph import Floats, Graph
from rebalancer.planner.optimal.newton import minimise, resting_prices


class Rest(NamedTuple):
    """``prices`` at which no plan is worth more than ``upper``, in shares of NAV."""

    prices: Floats  # (n + m,)
    upper: float


def at_rest(graph: Graph, case: Case) -> Rest:
    """The bound at prices that leave today's holdings as they are and pools as idle as can be.

    Where ``upper`` is no more than doing nothing is worth, doing nothing is optimal: every plan is
    below. ``case`` says what a pool must at least earn, and what selling an asset costs.

    A holding is at rest at ``s = 1 - stiff (h - w)``; up to the tax on its first unit more if it is
    only sold, and up to where selling it earns its fee; anything more if there is none to sell,
    anything less if none may be bought, anything at all for an intermediate. From the least of
    these prices up, each pool in turn raises the price of what it is paid until it earns no more
    than its charge: the least prices that leave it idle, if there are any.
    """
    prices = _idle_prices(graph, case)
    upper, _, _ = minimise(graph, case, 0.0, prices, empty(graph), 0)
    return Rest(prices, upper)


@compiled
def _idle_prices(graph: Graph, case: Case) -> Floats:
    """Least prices at which no pool earns more than its charge; cut where holdings would move."""
    n = graph.held.size
    x = resting_prices(graph)
    most = np.empty(n)
    for i in range(n):
        still = max(x[i], 1e-9)
        x[i], most[i] = still, still
        if graph.owed[i] > 0.0:
            continue
        if graph.stiff[i] == 0.0:
            x[i], most[i] = 1e-9, inf
            continue
        if graph.held[i] == 0.0 or case.fee[i] == inf:
            most[i] = inf
        elif case.fee[i] > 0.0:
            most[i] += sqrt(2.0 * graph.stiff[i] * case.fee[i])
        elif graph.tax_above.shape[1] and graph.tax_above[i, 0] == 0.0:
            most[i] += graph.tax_rate[i, 0]
        if case.top[i] <= graph.held[i]:
            x[i] = 1e-9
    for _ in range(n + 1):
        raised = False
        for k in range(graph.gamma.size):
            for side in range(2):
                a, b = graph.token[k, side], graph.token[k, 1 - side]
                out = (x[b] - graph.setaside) * graph.reserve[k, 1 - side]
                cost = case.charge[k, side]
                if x[a] >= most[a] or out <= cost:
                    continue
                root = sqrt(out) - sqrt(cost)
                least = graph.gamma[k] * root * root / graph.reserve[k, side]
                if least > x[a]:
                    # A rounding beyond, so that the pool is idle and not just about to be.
                    x[a] = min(least * (1.0 + 4e-16), most[a])
                    raised = True
        if not raised:
            break
    return x
