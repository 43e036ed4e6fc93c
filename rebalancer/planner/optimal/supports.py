"""Choices made: the best plan over given pools, and what becomes better by changing one of them."""

from __future__ import annotations

from math import inf

import numpy as np

from rebalancer.planner.optimal.case import empty
from rebalancer.planner.optimal.charging import (
    IN,
    OPEN,
    OUT,
    Choices,
    Gas,
    copied,
    cost_of,
    of_support,
    place,
    sale_costs,
    users,
)
from rebalancer.planner.optimal.graph import Floats, Graph
from rebalancer.planner.optimal.newton import MAX_STEPS, minimise
from rebalancer.planner.optimal.relaxation import trades_of, worth
from rebalancer.planner.optimal.search import earnings

#: Below this share of NAV a flow is rounding and its pool not used.
DUST = 1e-11
#: How often sales that turn out too small are decided and the rest is solved anew.
_ROUNDS = 4


def solve_support(graph: Graph, gas: Gas, choices: Choices, x: Floats) -> float:
    """The most that a plan over the items IN is worth, gas paid; unused ones become OUT.

    ``x`` becomes its prices. No item of a pool or a stake may be OPEN; an asset's sale that is OPEN
    and turns out too small is decided for what is nearer, selling the least or nothing.
    """
    edge, stake, sale = choices
    best = empty(graph)
    for _ in range(_ROUNDS):
        # What may be nothing or much has no slope between: as if it might be little until decided.
        least = np.where(sale[:, 0] == OPEN, 0.0, graph.least_sold)
        case = of_support(graph, gas, choices)
        value, _, _ = minimise(graph._replace(least_sold=least), case, 0.0, x, best, MAX_STEPS)
        trades = trades_of(best)
        found = worth(graph, trades)
        sold = graph.held - found.holdings
        small = (graph.stiff > 0) & (sold > DUST) & (sold < graph.least_sold * (1 - 1e-9))
        if found.overdrawn > DUST or (small & (sale[:, 0] != OPEN)).any():
            return -inf
        if small.any():
            sale[small, 0] = np.where(2 * sold > graph.least_sold, IN, OUT)[small]
            continue
        pools = np.arange(edge.shape[0])
        kept = np.full_like(edge, OUT)
        moving = trades.amount_in > DUST
        kept[pools[moving], trades.side[moving]] = IN
        edge[:] = np.minimum(edge, kept)
        moved = trades.burn * graph.stake_unit
        stake[~(moved > DUST), 0] = OUT
        stake[~(moved < -DUST), 1] = OUT
        return min(value, found.value) - cost_of(graph, gas, choices)
    return -inf


def improve(graph: Graph, gas: Gas, choices: Choices, x: Floats, tries: int) -> float:
    """Drop from and add to a support, in place, one item at a time while it gets better.

    At the support's own prices an item earns at most what dropping it loses, and at least what
    adding it gains: only those are tried whose gas says that they might pay.
    """
    best = solve_support(graph, gas, choices, x)
    failed = np.zeros(sum(states.size for states in choices), dtype=np.bool_)
    for _ in range(tries):
        surplus = _surplus(graph, gas, choices, x)
        surplus[failed] = 0.0
        chosen = int(surplus.argmax())
        if not surplus[chosen] > 0.0:
            break
        tried, x_tried = copied(choices), x.copy()
        states, at = place(tried, chosen)
        states[at] = OUT if states[at] == IN else IN
        value = solve_support(graph, gas, tried, x_tried)
        if value > best:
            best = value
            for states, better in zip(choices, tried, strict=True):
                states[:] = better
            x[:] = x_tried
            failed[:] = False
        else:
            failed[chosen] = True
    return best


def _surplus(graph: Graph, gas: Gas, choices: Choices, x: Floats) -> Floats:
    """What changing each item might gain, by number; nothing where it surely does not."""
    edge, stake, sale = choices
    earned, moved = earnings(graph, of_support(graph, gas, choices), x)
    uses, sells, feeds = users(graph, gas, choices)

    is_in = edge == IN
    mine = is_in.astype(np.float64)
    cost = np.repeat(gas.full[:, None], 2, axis=1)
    for side in range(2):
        a, b = graph.token[:, side], graph.token[:, 1 - side]
        own = mine[:, side]
        cost[:, side] += np.where(uses[a] == own, gas.touch[a], 0.0)
        cost[:, side] += np.where(uses[b] == own, gas.touch[b], 0.0)
        rest = sells[a] - own
        cost[:, side] += sale_costs(graph, gas, rest + 1, feeds[a], a)
        cost[:, side] -= sale_costs(graph, gas, rest, feeds[a], a)
        rest = feeds[b] - own
        cost[:, side] += sale_costs(graph, gas, sells[b], rest + 1, b)
        cost[:, side] -= sale_costs(graph, gas, sells[b], rest, b)
    of_edges = np.where(is_in, cost - earned, earned - cost)
    of_edges[earned <= 0.0] = 0.0

    of_stakes = np.zeros(stake.shape)
    whole = cost_of(graph, gas, choices) if stake.size else 0.0
    for at in np.ndindex(*stake.shape):
        other = copied(choices)
        other.stake[at] = OUT if stake[at] == IN else IN
        change = abs(cost_of(graph, gas, other) - whole)
        if stake[at] == IN or moved[at] > 0.0:
            of_stakes[at] = change - moved[at] if stake[at] == IN else moved[at] - change
    # To sell the least that may be sold instead of nothing, or the other way round.
    decided = (graph.stiff > 0.0) & (graph.least_sold > 0.0) & (sale[:, 0] != OPEN)
    of_sales = np.where(decided, DUST, 0.0)
    return np.concatenate([of_edges.ravel(), of_stakes.ravel(), of_sales])
