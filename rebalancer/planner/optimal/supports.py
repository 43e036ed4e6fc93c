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
    States,
    copied,
    cost_of,
    of_support,
    sale_cost,
    users,
)
from rebalancer.planner.optimal.compiled import compiled, inner
from rebalancer.planner.optimal.graph import Floats, Graph
from rebalancer.planner.optimal.newton import MAX_STEPS, minimise
from rebalancer.planner.optimal.recover import settle
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
    return float(improve(graph, gas, choices, x, 0))


@inner
def _solved(graph: Graph, gas: Gas, choices: Choices, x: Floats) -> float:
    """``solve_support``."""
    edge, stake, sale = choices.edge, choices.stake, choices.sale
    best, pools = empty(graph), graph.gamma.size
    sides, inputs, outputs = np.empty(pools, dtype=np.int64), np.empty(pools), np.empty(pools)
    for _ in range(_ROUNDS):
        case = of_support(graph, gas, choices)
        value, _, _ = minimise(graph, case, 0.0, x, best, MAX_STEPS)
        for k in range(pools):
            used = best.swap[k, 4]
            sides[k] = int(best.swap[k, 0] * used)
            inputs[k], outputs[k] = best.swap[k, 2] * used, best.swap[k, 3] * used
        found, holdings, _, overdrawn = settle(graph, sides, inputs, outputs, best.burn)
        again = False
        for i in range(graph.held.size):
            gone = graph.held[i] - holdings[i]
            if graph.stiff[i] > 0.0 and gone > DUST and gone < graph.least_sold[i] * (1.0 - 1e-9):
                if sale[i, 0] != OPEN:
                    return -inf
                sale[i, 0] = IN if 2.0 * gone > graph.least_sold[i] else OUT
                again = True
        if overdrawn > DUST:
            return -inf
        if again:
            continue
        for k in range(pools):
            for side in range(2):
                if not (inputs[k] > DUST and sides[k] == side):
                    edge[k, side] = OUT
        for e in range(graph.stake_held.size):
            moved = best.burn[e] * graph.stake_unit[e]
            if not moved > DUST:
                stake[e, 0] = OUT
            if not moved < -DUST:
                stake[e, 1] = OUT
        return min(value, found) - cost_of(graph, gas, choices)
    return -inf


@compiled
def improve(graph: Graph, gas: Gas, choices: Choices, x: Floats, tries: int) -> float:
    """Drop from and add to a support, in place, one item at a time while it gets better.

    At the support's own prices an item earns at most what dropping it loses, and at least what
    adding it gains: only those are tried whose gas says that they might pay.
    """
    edges, stakes = choices.edge.size, choices.stake.size
    failed = np.zeros(edges + stakes + choices.sale.size, dtype=np.bool_)
    surplus = np.empty(failed.size)
    tried, x_tried, chosen, best = copied(choices), x.copy(), -1, -inf
    for attempt in range(tries + 1):
        value = _solved(graph, gas, tried, x_tried)
        if attempt == 0 or value > best:
            best = value
            choices.edge[:], choices.stake[:] = tried.edge, tried.stake
            choices.sale[:], x[:] = tried.sale, x_tried
            failed[:] = False
        else:
            failed[chosen] = True
        if attempt == tries:
            break
        _surplus(graph, gas, choices, x, surplus)
        chosen = -1
        for item in range(surplus.size):
            if not failed[item] and surplus[item] > (surplus[chosen] if chosen >= 0 else 0.0):
                chosen = item
        if chosen < 0:
            break
        tried, x_tried = copied(choices), x.copy()
        if chosen < edges:
            _turn(tried.edge, chosen)
        elif chosen < edges + stakes:
            _turn(tried.stake, chosen - edges)
        else:
            _turn(tried.sale, chosen - edges - stakes)
    return best


@compiled
def surplus_of(graph: Graph, gas: Gas, choices: Choices, x: Floats) -> Floats:
    """What changing each item might gain, by number; where that is not so, what it loses."""
    found = np.empty(choices.edge.size + choices.stake.size + choices.sale.size)
    _surplus(graph, gas, choices, x, found)
    return found


@inner
def _turn(states: States, item: int) -> None:
    """Use what is not used, or the other way round."""
    at, side = item // states.shape[1], item % states.shape[1]
    states[at, side] = OUT if states[at, side] == IN else IN


@inner
def _surplus(graph: Graph, gas: Gas, choices: Choices, x: Floats, found: Floats) -> None:
    """What changing each item might gain, by number; nothing where it surely does not."""
    earned, moved = earnings(graph, of_support(graph, gas, choices), x)
    uses, sells, feeds = users(graph, gas, choices)
    edges, stakes = choices.edge.size, choices.stake.size
    for k in range(graph.gamma.size):
        for side in range(2):
            at = 2 * k + side
            found[at] = 0.0
            if earned[k, side] <= 0.0:
                continue
            own = 1.0 if choices.edge[k, side] == IN else 0.0
            a, b = graph.token[k, side], graph.token[k, 1 - side]
            cost = gas.full[k]
            if uses[a] == own:
                cost += gas.touch[a]
            if uses[b] == own:
                cost += gas.touch[b]
            others = sells[a] - own
            cost += sale_cost(graph, gas, a, others + 1.0, feeds[a])
            cost -= sale_cost(graph, gas, a, others, feeds[a])
            others = feeds[b] - own
            cost += sale_cost(graph, gas, b, sells[b], others + 1.0)
            cost -= sale_cost(graph, gas, b, sells[b], others)
            found[at] = cost - earned[k, side] if own == 1.0 else earned[k, side] - cost
    whole = cost_of(graph, gas, choices) if stakes else 0.0
    for e in range(choices.stake.shape[0]):
        for move in range(2):
            state = choices.stake[e, move]
            choices.stake[e, move] = OUT if state == IN else IN
            change = abs(cost_of(graph, gas, choices) - whole)
            choices.stake[e, move] = state
            gain = change - moved[e, move] if state == IN else moved[e, move] - change
            found[edges + 2 * e + move] = gain if state == IN or moved[e, move] > 0.0 else 0.0
    # To sell the least that may be sold instead of nothing, or the other way round.
    for i in range(graph.held.size):
        decided = graph.stiff[i] > 0.0 and graph.least_sold[i] > 0.0 and choices.sale[i, 0] != OPEN
        found[edges + stakes + i] = DUST if decided else 0.0
