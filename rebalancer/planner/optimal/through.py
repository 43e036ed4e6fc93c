"""What goes through a position without its approval: only what one pool pays another.

The relaxation lets an asset come from some pools and go to others at one price, in any amounts, and
charges its approval only where less of it is left. But a pool that takes it is either paid from the
wallet, for the approval, or by one pool that pays it all it buys. At given prices such a pair earns

    max_x  s_c f_k(f_j(x)) - s_b x  =  (sqrt(s_c A) - sqrt(s_b B))^2 / D

with ``A = g_j g_k R_ja R_kc``, ``B = R_jb R_ka``, ``D = g_j (R_ka + g_k R_ja)``, which is less than
what the two earn apart, each at its own amount. So whatever takes an asset can be charged what it
loses by being fed, all its takers together no more than the approval.
"""

from __future__ import annotations

from math import inf, sqrt

import numpy as np

from rebalancer.planner.optimal.case import Case
from rebalancer.planner.optimal.charging import IN, OPEN, OUT, Choices, Gas
from rebalancer.planner.optimal.compiled import inner
from rebalancer.planner.optimal.graph import Floats, Graph
from rebalancer.planner.optimal.holdings import leaning

#: What earns less than this share of NAV beyond its charge is not counted on.
_DUST = 1e-12


@inner
def fed(
    graph: Graph,
    gas: Gas,
    choices: Choices,
    case: Case,
    approval: Floats,
    i: int,
    whole: Floats,
    earned: Floats,
    left: Floats,
    x: Floats,
    losses: Floats,
) -> float:
    """What is lost at least where whatever takes asset ``i`` is fed, its approval not paid.

    Returns what the plans of a node lose for sure; into ``losses``, (K, 2), goes what each OPEN
    direction loses that takes it. ``approval`` is what is unpaid of each asset, ``whole`` what an
    OPEN direction costs at least, ``left`` what it earns beyond.

    Where a pool that takes it is IN, the others are charged what they lose beyond the ``rest``.
    """
    start, pools, edge = gas.start[i], gas.start[i + 1] - gas.start[i], choices.edge
    takers, decided, lack = 0, False, inf
    lacks, more = np.full(pools, inf), np.zeros(pools)  # of each that can pay it
    for at in range(pools):
        k = gas.around[start + at]
        take = 0 if graph.token[k, 0] == i else 1
        give = 1 - take
        if edge[k, take] == IN or (edge[k, take] != OUT and left[k, take] > _DUST):
            takers += 1
            decided = decided or edge[k, take] == IN
        if edge[k, give] != OUT and edge[k, take] != IN:
            missing = 0.0 if edge[k, give] == IN else whole[k, give] - earned[k, give]
            lacks[at] = max(missing, 0.0)
            lack = min(lack, lacks[at])
    if takers == 0:
        return 0.0
    still = _still(graph, gas, choices, case, x, i)
    sure, rest = 0.0, still
    if decided:
        for at in range(pools):
            k = gas.around[start + at]
            take = 0 if graph.token[k, 0] == i else 1
            if edge[k, take] == IN:
                least, second, payer = _payers(graph, gas, approval, i, at, lacks, earned, x)
                sure += least
                if payer >= 0:
                    more[payer] += second - least
        # None of it comes or goes, or one more pays it, which then feeds none of these.
        for at in range(pools):
            rest = min(rest, lacks[at] + more[at])
        sure += rest
    for at in range(pools):
        k = gas.around[start + at]
        take = 0 if graph.token[k, 0] == i else 1
        if edge[k, take] != OPEN or not left[k, take] > _DUST:
            continue
        least, second, payer = _payers(graph, gas, approval, i, at, lacks, earned, x)
        if decided:
            losses[k, take] = max(least - rest, 0.0)
        elif takers > 1:
            losses[k, take] = least + min(still, lack) / takers
        else:
            losses[k, take] = least + still
            for other in range(pools):
                apart = second if other == payer else least
                losses[k, take] = min(losses[k, take], lacks[other] + apart)
    return sure


@inner
def _payers(
    graph: Graph,
    gas: Gas,
    approval: Floats,
    i: int,
    at: int,
    lacks: Floats,
    earned: Floats,
    x: Floats,
) -> tuple[float, float, int]:
    """What is lost at least where the pool ``at`` takes asset ``i`` from another pool.

    Also by the second best to pay it, and which is the best, -1 for none. What both earn less
    counts half where it may be counted again at the other token of one of them.
    """
    start = gas.start[i]
    k = gas.around[start + at]
    take = 0 if graph.token[k, 0] == i else 1
    end = approval[graph.token[k, 1 - take]] > 0.0
    least, second, payer = inf, inf, -1
    for other in range(lacks.size):
        if other == at or lacks[other] >= second:
            continue
        j = gas.around[start + other]
        give = 1 if graph.token[j, 0] == i else 0
        lost = earned[j, give] + earned[k, take]
        lost -= _together(graph, x, j, give, k, take, lost)
        if end or approval[graph.token[j, give]] > 0.0:
            lost *= 0.5
        lost += lacks[other]
        if lost < least:
            least, second, payer = lost, least, other
        elif lost < second:
            second = lost
    return least, second, payer


@inner
def _together(graph: Graph, x: Floats, j: int, give: int, k: int, take: int, apart: float) -> float:
    """What two pools earn at most, one feeding the other; ``apart`` where a stake mixes in."""
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
    return min(root * root / d, apart) if root > 0.0 else 0.0


@inner
def _still(graph: Graph, gas: Gas, choices: Choices, case: Case, x: Floats, i: int) -> float:
    """What asset ``i`` is worth less if none of it comes or goes, where more would come."""
    if graph.stiff[i] == 0.0 or graph.held[i] < 0.0:
        return 0.0
    for e in range(gas.pool_of.size):
        k = gas.pool_of[e]
        if choices.stake[e, 0] != OUT and (graph.token[k, 0] == i or graph.token[k, 1] == i):
            return 0.0
    held, stiff = graph.held[i], graph.stiff[i]
    slope = 1.0 - x[i] - leaning(graph, i, x) - stiff * (held - graph.target[i])
    if slope <= 0.0:
        return 0.0
    more = min(slope / stiff, case.top[i] - held)
    return float((slope - 0.5 * stiff * more) * more)
