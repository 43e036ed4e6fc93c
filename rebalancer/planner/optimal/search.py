"""What branch and bound does at a node: the bound, what is earned there, and where to branch."""

from __future__ import annotations

from math import inf

import numpy as np

from rebalancer.planner.optimal.case import Best, Case, empty
from rebalancer.planner.optimal.charging import (
    IN,
    OPEN,
    OUT,
    Choices,
    Gas,
    charges,
    spread,
)
from rebalancer.planner.optimal.graph import Floats, Graph
from rebalancer.planner.optimal.newton import MAX_STEPS, minimise
from rebalancer.planner.optimal.through import spared

#: How often the tokens' costs are shared out anew in a bound.
_TURNS = 1


def bound(graph: Graph, gas: Gas, choices: Choices, x: Floats, mu: float, cutoff: float) -> float:
    """The least upper bound found on what any plan of a node is worth; its prices go into ``x``.

    Every prices bound it; those that minimise the dual with the tokens' costs shared as ``spread``
    shares them do it well, so share and minimise in turn. Stops where the bound reaches ``cutoff``.
    """
    case, unpaid, paid = charges(graph, gas, choices)
    best, tried, least = empty(graph), x.copy(), inf
    for turn in range(_TURNS + 1):
        exact, _, _ = minimise(graph, case, 0.0, tried, best, 0)
        earned = by_side(best)
        whole, taken = spread(graph, gas, choices.edge, case.charge, unpaid, earned)
        upper = exact - taken - paid
        if upper < least:
            least = upper
            x[:] = tried
        if least <= cutoff or turn == _TURNS:
            break
        minimise(graph, case._replace(charge=whole), mu, tried, best, MAX_STEPS)
    return least


def true_bound(graph: Graph, gas: Gas, choices: Choices, x: Floats) -> float:
    """What no plan of a node is worth more than by prices ``x``, whoever feeds whom.

    The search's own ``bound`` leaves out plans in which one pool feeds another with a position.
    """
    case, unpaid, paid = charges(graph, gas, choices, fed=True)
    best = empty(graph)
    exact, _, _ = minimise(graph, case, 0.0, x, best, 0)
    earned = by_side(best)
    whole, taken = spread(graph, gas, choices.edge, case.charge, unpaid, earned)
    return (
        exact - taken - paid - spared(graph, gas, choices, case, unpaid.fee, whole, earned, best, x)
    )


def by_side(best: Best) -> Floats:
    """What each direction of each pool earns before gas, (K, 2)."""
    earned = np.zeros((best.swap.shape[0], 2))
    earned[np.arange(best.swap.shape[0]), best.swap[:, 0].astype(np.int64)] = best.swap[:, 1]
    return earned


def earnings(graph: Graph, case: Case, x: Floats) -> tuple[Floats, Floats]:
    """What each direction of each pool, and each stake, earns at prices ``x`` before gas."""
    best = empty(graph)
    minimise(graph, case, 0.0, x, best, 0)
    return by_side(best), best.moved


def pick(graph: Graph, gas: Gas, choices: Choices, x: Floats, mu: float) -> tuple[int, Choices]:
    """The item to branch on, -1 for none, and the support that the prices ``x`` suggest.

    Branches where both ways are worth most: IN adds to what the bound has charged for the item, OUT
    loses up to what it earns beyond its own charge; the lesser of the two counts.
    """
    edge, stake, sale = choices
    case, unpaid, _ = charges(graph, gas, choices)
    best = empty(graph)
    minimise(graph, case, 0.0, x, best, 0)
    earned = by_side(best)
    whole, _ = spread(graph, gas, edge, case.charge, unpaid, earned)
    touches = unpaid.touch[graph.token].sum(axis=1, keepdims=True)

    over = np.where(earned > 0, earned - whole, -inf)
    opens = (edge == OPEN) & (over > -mu)
    used = np.clip(over / mu, 0.0, 1.0) if mu > 0.0 else np.ones_like(over)
    beyond = np.maximum(earned - case.charge, 0.0)
    selling = unpaid.approval[graph.token]
    added = case.charge + touches + selling - used * np.where(opens, whole, 0.0)
    of_edges = np.where(opens, np.minimum(added, beyond), 0.0)

    moving = (best.moved > 0.0) & (stake != OUT)
    at = gas.pool_of
    costs = gas.stake + touches[at]
    costs[:, 1] += unpaid.approval[graph.token[at]].sum(axis=1)
    of_stakes = np.where(moving & (stake == OPEN), costs, 0.0)

    support = Choices(
        np.where((edge == IN) & (earned > 0) | (edge == OPEN) & (over > -0.5 * mu), IN, OUT).astype(
            np.int8
        ),
        np.where(moving, IN, OUT).astype(np.int8),
        sale.copy(),
    )
    of_sales = _of_sales(graph, case, best, mu)
    missing = np.concatenate([of_edges.ravel(), of_stakes.ravel(), of_sales.ravel()])
    if not (missing > 0.0).any():
        missing = np.where((edge == OPEN) & (earned > 0), earned, 0.0).ravel()
    return (int(missing.argmax()) if (missing > 0.0).any() else -1), support


def _of_sales(graph: Graph, case: Case, best: Best, mu: float) -> Floats:
    """What deciding each sale is worth to the bound, (n,): of those that are half sold."""
    if mu == 0.0:
        return np.zeros(graph.held.size)
    least = graph.least_sold
    used = np.clip(best.sale / mu, 0.0, 1.0)
    half = (least > 0.0) & (case.fee >= 0.0) & (case.fee < inf) & (np.abs(best.sale) < mu)
    return np.where(half, 0.01 * least * np.minimum(used, 1.0 - used) + 0.01 * mu, 0.0)
