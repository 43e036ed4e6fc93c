"""What goes through a position without its approval: only what one pool pays another.

The relaxation lets an asset come from some pools and go to others at one price, in any amounts, and
charges its approval only where less of it is left. But a pool that takes it is either paid from the
wallet, for the approval, or by one pool that pays it all it buys. At given prices such a pair earns

    max_x  s_c f_k(f_j(x)) - s_b x  =  (sqrt(s_c A) - sqrt(s_b B))^2 / D

with ``A = g_j g_k R_ja R_kc``, ``B = R_jb R_ka``, ``D = g_j (R_ka + g_k R_ja)``, which is less than
what the two earn apart, each at its own amount. So a bound may be lowered by the lesser of the
approval and that loss.
"""

from __future__ import annotations

from math import inf, sqrt

import numpy as np

from rebalancer.planner.optimal.case import Best, Case
from rebalancer.planner.optimal.charging import IN, OPEN, OUT, Choices, Gas
from rebalancer.planner.optimal.graph import Floats, Graph

#: What earns less than this share of NAV beyond its charge is not counted on.
_DUST = 1e-12
#: A direction of a pool: its number and the side that is sold.
_Way = tuple[int, int]


def spared(
    graph: Graph,
    gas: Gas,
    choices: Choices,
    case: Case,
    fees: Floats,
    whole: Floats,
    earned: Floats,
    best: Best,
    x: Floats,
) -> float:
    """By how much less than its bound at prices ``x`` any plan of a node is worth; at least 0.

    ``fees`` are the approvals, ``whole`` what the directions are charged and ``earned`` what they
    earn. Losses of several assets may be of the same pools, so only the largest of those whose
    approval is avoided counts.
    """
    edge = choices.edge
    used = edge == IN
    costs = np.where(used, 0.0, whole)
    counted = np.where(used, earned, np.where(edge == OPEN, np.maximum(earned - whole, 0.0), 0.0))
    takes = (used | (counted > _DUST)) & (edge != OUT)
    options = []
    for i in np.unique(graph.token[takes]):
        if fees[i] > 0.0 and best.sale[i] <= 0.0:
            loss = _loss(graph, gas, choices, case, x, int(i), takes, costs, counted, earned)
            # Sold net after all, it is worth the less by so much, its approval paid.
            options.append((loss, min(float(fees[i]), -float(best.sale[i]))))
    found = inf
    for most in (0.0, *(loss for loss, _ in options)):
        found = min(found, most + sum(fee for loss, fee in options if loss > most))
    return found


def _loss(
    graph: Graph,
    gas: Gas,
    choices: Choices,
    case: Case,
    x: Floats,
    i: int,
    takes: np.ndarray[tuple[int, ...], np.dtype[np.bool_]],
    costs: Floats,
    counted: Floats,
    earned: Floats,
) -> float:
    """What it costs at least to feed whatever takes asset ``i`` by pools that pay it."""
    edge = choices.edge
    takers = [(int(k), int(s)) for k, s in np.argwhere(takes & (graph.token == i))]
    payers = [(int(k), int(s)) for k, s in np.argwhere((graph.token[:, ::-1] == i) & (edge != OUT))]
    if not takers:
        return 0.0
    lacks = [max(float(costs[j] - earned[j]), 0.0) for j in payers]
    still = _pinned(graph, gas, choices, case, x, i)
    # One more pays it than takes it, or none of it comes or goes.
    rest = min(still, min(lacks, default=inf))
    lost = 0.0
    for taker in takers:
        pairs = [
            float(counted[j] + counted[taker] + costs[j] + costs[taker])
            - _together(graph, x, j, taker, float(earned[j] + earned[taker]))
            if j[0] != taker[0]
            else inf
            for j in payers
        ]
        least = min(pairs, default=inf)
        unused = float(counted[taker]) if edge[taker] == OPEN else inf
        if len(takers) == 1:
            others = [min(lacks[:at] + lacks[at + 1 :], default=inf) for at in range(len(payers))]
            more = [pair + other for pair, other in zip(pairs, others, strict=True)]
            return max(min(unused + rest, min(more, default=inf), least + still), 0.0)
        lost += max(min(least, unused), 0.0)
    return lost + rest


def _together(graph: Graph, x: Floats, payer: _Way, taker: _Way, apart: float) -> float:
    """What two pools earn at most, one feeding the other; ``apart`` where a stake mixes in."""
    (j, give), (k, take) = payer, taker
    if graph.stake_of[j] >= 0 or graph.stake_of[k] >= 0:
        return apart
    r_b, r_ja = graph.reserve[j, give], graph.reserve[j, 1 - give]
    r_ka, r_c = graph.reserve[k, take], graph.reserve[k, 1 - take]
    price_in = x[graph.token[j, give]]
    price_out = x[graph.token[k, 1 - take]] - graph.setaside
    if price_out <= 0.0:
        return 0.0
    a = graph.gamma[j] * graph.gamma[k] * r_ja * r_c
    d = graph.gamma[j] * (r_ka + graph.gamma[k] * r_ja)
    root = sqrt(price_out * a) - sqrt(price_in * r_b * r_ka)
    return min(float(root * root / d), apart) if root > 0.0 else 0.0


def _pinned(graph: Graph, gas: Gas, choices: Choices, case: Case, x: Floats, i: int) -> float:
    """What asset ``i`` is worth less if none of it comes or goes, where more would come."""
    gives = choices.stake[:, 0] != OUT
    if graph.stiff[i] == 0.0 or (graph.token[gas.pool_of[gives]] == i).any():
        return 0.0
    lean = float(graph.load[:, i] @ x[graph.held.size :])
    held, stiff = graph.held[i], graph.stiff[i]
    slope = 1.0 - x[i] - lean - stiff * (held - graph.target[i])
    if held < 0.0 or slope <= 0.0:
        return 0.0
    more = min(slope / stiff, case.top[i] - held)
    return float((slope - 0.5 * stiff * more) * more)
