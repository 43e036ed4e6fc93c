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
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rebalancer.planner.optimal.case import Best, Case
from rebalancer.planner.optimal.charging import IN, OPEN, OUT, Choices, Gas
from rebalancer.planner.optimal.graph import Floats, Graph, Ints

#: What earns less than this share of NAV beyond its charge is not counted on.
_DUST = 1e-12
#: A direction of a pool: its number and the side that is sold.
_Way = tuple[int, int]
Flags = npt.NDArray[np.bool_]


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
    # Sold net after all, it is worth the less by so much, its approval paid.
    avoided = {
        int(i): min(float(fees[i]), -float(best.sale[i]))
        for i in np.unique(graph.token[takes])
        if fees[i] > 0.0 and best.sale[i] <= 0.0
    }
    ways = _Ways(graph, edge.tolist(), costs.tolist(), counted.tolist(), earned.tolist())
    takers, payers = ways.by(takes, graph.token), ways.by(edge != OUT, graph.token[:, ::-1])
    enough = sum(avoided.values())
    options = []
    for i, fee in avoided.items():
        still = _pinned(graph, gas, choices, case, x, i)
        options.append((_loss(ways, x, takers[i], payers.get(i, []), still, enough), fee))
    found = inf
    for most in (0.0, *(loss for loss, _ in options)):
        found = min(found, most + sum(fee for loss, fee in options if loss > most))
    return found


class _Ways(NamedTuple):
    """State, cost, surplus and earnings of each direction of each pool, as lists."""

    graph: Graph
    edge: list[list[int]]
    costs: list[list[float]]
    counted: list[list[float]]
    earned: list[list[float]]

    def by(self, which: Flags, token: Ints) -> dict[int, list[_Way]]:
        """The directions ``which``, by their ``token``."""
        found: dict[int, list[_Way]] = {}
        for (k, side), i in zip(np.argwhere(which).tolist(), token[which].tolist(), strict=True):
            found.setdefault(i, []).append((k, side))
        return found

    def lack(self, k: int, side: int) -> float:
        """What using it costs beyond what it earns."""
        return max(self.costs[k][side] - self.earned[k][side], 0.0)

    def pair(self, x: Floats, payer: _Way, taker: _Way) -> float:
        """What both lose where the one takes all that the other pays."""
        (j, give), (k, take) = payer, taker
        apart = self.earned[j][give] + self.earned[k][take]
        counted = self.counted[j][give] + self.counted[k][take]
        costs = self.costs[j][give] + self.costs[k][take]
        return counted + costs - _together(self.graph, x, payer, taker, apart)


def _loss(
    ways: _Ways, x: Floats, takers: list[_Way], payers: list[_Way], still: float, enough: float
) -> float:
    """What it costs at least to feed the ``takers`` of an asset by pools that pay it.

    ``still`` is what it costs if none of the asset comes or goes. From ``enough`` on the answer may
    be too little: so much is not paid for the sake of an approval.
    """
    lacks = [ways.lack(*payer) for payer in payers]
    # A pair loses no less than its payer alone: the rest of them need not be looked at.
    order = sorted(range(len(payers)), key=lacks.__getitem__)
    ends = [lacks[at] for at in order[:2]] + [inf, inf]
    # One more pays it than takes it, or none of it comes or goes.
    rest = min(still, ends[0])
    alone, lost = len(takers) == 1, 0.0
    for taker in takers:
        k, take = taker
        unused = ways.counted[k][take] if ways.edge[k][take] == OPEN else inf
        least, more = inf if alone else unused, inf
        for place, at in enumerate(order):
            if lacks[at] >= (more if alone else least) or lost >= enough:
                break
            if payers[at][0] == k:
                continue
            pair = ways.pair(x, payers[at], taker)
            least = min(least, pair)
            more = min(more, pair + ends[0 if place else 1])
        if alone:
            return max(min(unused + rest, more, least + still), 0.0)
        lost += max(least, 0.0) if lost < enough else 0.0
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
