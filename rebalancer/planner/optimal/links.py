"""Which pool could feed which at the prices of a support, and what that can gain at most."""

from __future__ import annotations

from math import inf, sqrt
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rebalancer.planner.optimal.charging import IN, Choices, Gas, of_support, sale_cost, users
from rebalancer.planner.optimal.compiled import compiled, inner
from rebalancer.planner.optimal.graph import Floats, Graph, Ints
from rebalancer.planner.optimal.search import earnings

Flags = npt.NDArray[np.bool_]


class Links(NamedTuple):
    """Ways of which the ``payer`` could feed the ``taker``, by number: twice the pool's, and one
    more where its second asset is sold.

    ``gain`` is what that gains at most, the approval of what goes from one to the other apart; that
    costs ``middle`` more.
    """

    payer: Ints
    taker: Ints
    gain: Floats
    middle: Floats


def links_of(graph: Graph, gas: Gas, choices: Choices, x: Floats, free: Flags) -> Links:
    """Every pair of the ``free`` ways that might gain anything at the prices ``x`` of a support."""
    earned, _ = earnings(graph, of_support(graph, gas, choices), x)
    used = choices.edge == IN
    found = _links(graph, gas, used, free, earned, x, *users(graph, gas, choices))
    return Links(found[0].astype(np.int64), found[1].astype(np.int64), found[2], found[3])


@compiled
def _links(
    graph: Graph,
    gas: Gas,
    used: Flags,
    free: Flags,
    earned: Floats,
    x: Floats,
    uses: Floats,
    sells: Floats,
    feeds: Floats,
) -> Floats:
    """Four rows: payer, taker, gain, middle."""
    pools, room, count = graph.gamma.size, 64, 0
    found = np.empty((4, room))
    base = 0.0 if used.any() else gas.base
    for way in range(2 * pools):
        j, give = way // 2, way % 2
        if not free[j, give]:
            continue
        a, m = graph.token[j, give], graph.token[j, 1 - give]
        before = gas.chained - base - _touch(gas, uses, a) - _touch(gas, uses, m)
        paid = 0.0
        if used[j, give]:
            before -= earned[j, give]
            paid = -1.0
        else:
            before -= gas.full[j] + _more(graph, gas, a, sells[a], feeds[a], 1.0, 0.0)
        for other in range(2 * pools):
            k, take = other // 2, other % 2
            if k == j or graph.token[k, take] != m or not free[k, take]:
                continue
            c = graph.token[k, 1 - take]
            if c == a and graph.held[a] <= 0.0:  # where it starts, some must be in the wallet
                continue
            gain, sold = before, 0.0
            if used[k, take]:
                gain -= earned[k, take]
                sold = -1.0
            else:
                gain -= gas.full[k] + _more(graph, gas, c, sells[c], feeds[c], 0.0, 1.0)
            gain -= 0.0 if c == a else _touch(gas, uses, c)
            gain += _together(graph, x, j, give, k, take)
            # With others fed as well it may be this one that spares the approval.
            if gain + gas.approval[m] + gas.chained <= 0.0:
                continue
            if count == room:
                wider = np.empty((4, 2 * room))
                wider[:, :room] = found
                found, room = wider, 2 * room
            found[0, count], found[1, count], found[2, count] = way, other, gain
            found[3, count] = _more(graph, gas, m, sells[m], feeds[m], sold, paid)
            count += 1
    return found[:, :count]


@inner
def _touch(gas: Gas, uses: Floats, i: int) -> float:
    """What it costs that asset ``i`` is moved, unless it is anyway."""
    return 0.0 if uses[i] > 0.0 else gas.touch[i]


@inner
def _more(
    graph: Graph, gas: Gas, i: int, sells: float, feeds: float, sold: float, paid: float
) -> float:
    """What selling asset ``i`` costs more, sold to and paid by so many more pools."""
    after = sale_cost(graph, gas, i, sells + sold, feeds + paid)
    return after - sale_cost(graph, gas, i, sells, feeds)


@inner
def _together(graph: Graph, x: Floats, j: int, give: int, k: int, take: int) -> float:
    """What two pools earn, one feeding the other, each within its limit; see ``chains``."""
    r_a, r_jm, gamma = graph.reserve[j, give], graph.reserve[j, 1 - give], graph.gamma[j]
    r_km, r_c, gamma_k = graph.reserve[k, take], graph.reserve[k, 1 - take], graph.gamma[k]
    price_in = x[graph.token[j, give]]
    price_out = x[graph.token[k, 1 - take]] - graph.setaside
    whole = r_km + gamma_k * r_jm
    r_in, r_out = r_a * r_km / whole, gamma_k * r_jm * r_c / whole
    square = gamma * price_out * r_out * (1.0 - graph.setaside) / (price_in * r_in)
    if price_out <= 0.0 or square <= 1.0:
        return 0.0
    most = r_km * (graph.reach[k, take] - 1.0) / gamma_k
    room = most / (r_jm - most) if most < r_jm else inf
    sold = r_a / gamma * min(room, graph.reach[j, give] - 1.0)
    sold = min(sold, r_in / gamma * (sqrt(square) - 1.0))
    after = gamma * sold
    passed = r_jm * after / (r_a + after)
    out = r_out * after / (r_in + after)
    return float(price_out * out - price_in * sold - graph.setaside * passed)
