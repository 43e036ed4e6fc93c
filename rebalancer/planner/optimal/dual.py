"""The dual of the relaxed problem: what no plan of a case can be worth more than, and its slopes.

    g(s, u) = sum_i  max_y [(1 - s_i) y - stiff_i/2 (y - w_i)^2 - tax(h_i - y) - (F'u)_i (y - w_i)]
              + s.h + |u|^2 / (2 kappa) + sum_k arb_k(s)

in shares of NAV, ``s`` the dual price of each asset over its oracle price and ``u`` of each factor.
Every ``(s, u)`` bounds the best plan from above. What is there to choose at a cost (a pool's
direction, selling an asset) counts ``max(0, earned - cost)``, rounded off over a width ``mu`` so
that Newton steps work.
"""

from __future__ import annotations

from math import inf

import numpy as np

from rebalancer.planner.optimal.case import Best, Case
from rebalancer.planner.optimal.compiled import inner
from rebalancer.planner.optimal.graph import Floats, Graph
from rebalancer.planner.optimal.terms import holding, stake_term, trade


@inner
def evaluate(
    graph: Graph,
    case: Case,
    mu: float,
    x: Floats,
    best: Best,
    gradient: Floats,
    hessian: Floats,
) -> tuple[float, float]:
    """g at ``x = (s, u)``: rounded off, and as it is.

    Fills ``best``, and of the former the gradient and, where there is room for it, the lower half
    of the Hessian.
    """
    n, m = graph.held.size, graph.load.shape[0]
    second = hessian.size > 0
    for p in range(n + m):
        gradient[p] = 0.0
        if second:
            for q in range(p + 1):
                hessian[p, q] = 0.0
    value, exact = 0.0, 0.0
    for i in range(n):
        if graph.stiff[i] > 0.0 or graph.owed[i] > 0.0:
            smooth, true = _with_holding(graph, case, i, mu, x, best, gradient, hessian)
            value += smooth
            exact += true
    for j in range(m):
        square = x[n + j] * x[n + j] / (2.0 * graph.kappa)
        value += square
        exact += square
        gradient[n + j] += x[n + j] / graph.kappa
        if second:
            hessian[n + j, n + j] += 1.0 / graph.kappa
    for k in range(graph.gamma.size):
        side, arb, amount_in, amount_out, t = best_swap(graph, k, x)
        cost = case.charge[k, side]
        if graph.stake_of[k] >= 0:
            smooth, true = _with_stake(
                graph, case, k, side, arb, amount_in, amount_out, t, mu, x, best, gradient, hessian
            )
            value += smooth
            exact += true
            continue
        swap = best.swap[k]
        swap[0], swap[1], swap[2], swap[3], swap[4] = side, arb, amount_in, amount_out, 0.0
        if arb <= cost:
            continue
        swap[4] = 1.0
        exact += arb - cost
        smooth, used, sharp = rounded(arb - cost, mu if cost > 0.0 else 0.0)
        value += smooth
        a, b = graph.token[k, side], graph.token[k, 1 - side]
        gradient[a] -= used * amount_in
        gradient[b] += used * amount_out
        if second:
            p, q = max(a, b), min(a, b)
            if t > 0.0:
                bend = used * graph.reserve[k, 1 - side] / (2.0 * t)
                out = x[b] - graph.setaside
                hessian[a, a] += bend * out / (x[a] * x[a])
                hessian[b, b] += bend / out
                hessian[p, q] -= bend / x[a]
            if sharp > 0.0:
                hessian[a, a] += sharp * amount_in * amount_in
                hessian[b, b] += sharp * amount_out * amount_out
                hessian[p, q] -= sharp * amount_in * amount_out
    return value, exact


@inner
def best_swap(graph: Graph, k: int, x: Floats) -> tuple[int, float, float, float, float]:
    """The side of pool ``k`` whose sale earns something, if any, and what ``trade`` says of it."""
    for side in range(2):
        arb, amount_in, amount_out, t = trade(
            graph.reserve[k, side],
            graph.reserve[k, 1 - side],
            graph.gamma[k],
            graph.reach[k, side],
            x[graph.token[k, side]],
            x[graph.token[k, 1 - side]] - graph.setaside,
        )
        if t != 0.0:
            return side, arb, amount_in, amount_out, t
    return 1, 0.0, 0.0, 0.0, 0.0


@inner
def rounded(earned: float, mu: float) -> tuple[float, float, float]:
    """``max(0, earned)`` rounded off over ``mu``, its slope, and its curvature."""
    if earned <= 0.0:
        return 0.0, 0.0, 0.0
    if mu == 0.0:
        return earned, 1.0, 0.0
    if earned < mu:
        return 0.5 * earned * earned / mu, earned / mu, 1.0 / mu
    return earned - 0.5 * mu, 1.0, 0.0


@inner
def leaning(graph: Graph, i: int, x: Floats) -> float:
    """What the factors charge for a unit of asset ``i``."""
    lean = 0.0
    for j in range(graph.load.shape[0]):
        lean += graph.load[j, i] * x[graph.held.size + j]
    return lean


@inner
def sale(
    graph: Graph, case: Case, i: int, price: float, lean: float
) -> tuple[float, float, float, float, float, float]:
    """What selling asset ``i`` earns beyond keeping it, less its fee; then ``holding`` of selling.

    Selling is to sell ``least_sold`` of it at least. Only of an asset that is better sold.
    """
    held, top = graph.held[i], case.top[i]
    stay, _, _, _, _ = holding(graph, i, price, lean, held, max(top, held))
    most = min(top, held - graph.least_sold[i])
    value, y, give, off, bend = holding(graph, i, price, lean, 0.0, most)
    return value - stay - case.fee[i], value, y, give, off, bend


@inner
def _with_holding(
    graph: Graph,
    case: Case,
    i: int,
    mu: float,
    x: Floats,
    best: Best,
    gradient: Floats,
    hessian: Floats,
) -> tuple[float, float]:
    """The term of an asset: kept or more of it at no cost, or sold for a fee."""
    n, m = graph.held.size, graph.load.shape[0]
    held, fee, lean = graph.held[i], case.fee[i], leaning(graph, i, x)
    value, y, give, off, bend = holding(graph, i, x[i], lean, 0.0, case.top[i])
    weight, true = 1.0, value
    best.sale[i] = -inf
    decided = fee == 0.0 and graph.least_sold[i] == 0.0
    if not decided and held > 0.0 and (y < held or fee < 0.0):
        if fee < inf:
            earned, sold, y, give, off, bend = sale(graph, case, i, x[i], lean)
            best.sale[i] = earned
        else:
            earned, sold = -1.0, 0.0
        value, still, still_give, still_off, still_bend = holding(
            graph, i, x[i], lean, held, max(case.top[i], held)
        )
        true = value
        sharp = 0.0
        if fee < 0.0:
            value, true = sold, sold
        else:
            smooth, weight, sharp = rounded(earned, mu)
            value += smooth
            true += max(earned, 0.0)
            _add_holding(
                graph, i, 1.0 - weight, still, still_give, still_off, still_bend, gradient, hessian
            )
        if hessian.size > 0 and sharp > 0.0:
            hessian[i, i] += sharp * (still - y) * (still - y)
            for j in range(m):
                slope = graph.load[j, i] * (still_off - off)
                hessian[n + j, i] += sharp * slope * (still - y)
                for p in range(j + 1):
                    hessian[n + j, n + p] += sharp * slope * graph.load[p, i] * (still_off - off)
    _add_holding(graph, i, weight, y, give, off, bend, gradient, hessian)
    return value, true


@inner
def _add_holding(
    graph: Graph,
    i: int,
    weight: float,
    y: float,
    give: float,
    off: float,
    bend: float,
    gradient: Floats,
    hessian: Floats,
) -> None:
    """Add ``weight`` of a holding's slopes."""
    n = graph.held.size
    if weight == 0.0:
        return
    gradient[i] += weight * (graph.held[i] - y)
    second = hessian.size > 0
    if second:
        hessian[i, i] += weight * give
    for j in range(graph.load.shape[0]):
        load = weight * graph.load[j, i]
        gradient[n + j] -= load * off
        if second:
            hessian[n + j, i] += load * bend
            for p in range(j + 1):
                hessian[n + j, n + p] += load * bend * graph.load[p, i]


@inner
def _with_stake(
    graph: Graph,
    case: Case,
    k: int,
    side: int,
    arb: float,
    amount_in: float,
    amount_out: float,
    t: float,
    mu: float,
    x: Floats,
    best: Best,
    gradient: Floats,
    hessian: Floats,
) -> tuple[float, float]:
    """The term of a pool with a stake: without the swap, with it, or mixed."""
    n, m, e = graph.held.size, graph.load.shape[0], graph.stake_of[k]
    low, high, cost = case.low[e], case.high[e], case.charge[k, side]
    off_value, off_y, off_give, off_burn = stake_term(graph, k, 0.0, low, high, x)
    on_value, on_y, on_give, on_burn = off_value, off_y, off_give, off_burn
    used, sharp, smooth, true = 0.0, 0.0, off_value, off_value
    second = hessian.size > 0
    if t != 0.0:
        on_value, on_y, on_give, on_burn = stake_term(graph, k, arb, low, high, x)
        more, used, sharp = rounded(on_value - off_value - cost, mu if cost > 0.0 else 0.0)
        smooth += more
        true += max(on_value - off_value - cost, 0.0)
    swap = best.swap[k]
    swap[0], swap[1], swap[4] = side, on_value - off_value, 1.0 if used > 0.0 else 0.0
    best.burn[e] = on_burn if used > 0.0 else off_burn
    swap[2], swap[3] = amount_in * (1.0 - on_burn), amount_out * (1.0 - on_burn)
    held = graph.stake_held[e]
    value, y, _, _ = stake_term(graph, k, arb, 0.0, inf, x)
    still, _, _, _ = stake_term(graph, k, arb, held, held, x)
    best.moved[e, 0] = value - still if y < held else 0.0
    best.moved[e, 1] = value - still if y > held else 0.0
    a, b = graph.token[k, side], graph.token[k, 1 - side]
    r_a, r_b, unit = graph.reserve[k, side], graph.reserve[k, 1 - side], graph.stake_unit[e]
    slope = np.zeros(2 + m)  # of the value with the swap less that without, by (s_a, s_b, u)
    row = np.empty(2 + m)
    for on in range(2):
        weight = used if on else 1.0 - used
        y, give, burn = (on_y, on_give, on_burn) if on else (off_y, off_give, off_burn)
        d_a = -amount_in if on else 0.0
        d_b = amount_out if on else 0.0
        row[0] = (1.0 - burn) * d_a + burn * r_a
        row[1] = (1.0 - burn) * d_b + burn * r_b
        for j in range(m):
            row[2 + j] = graph.load[j, n + e] * (graph.stake_target[e] - y)
        for p in range(2 + m):
            slope[p] += row[p] if on else -row[p]
            gradient[a if p == 0 else (b if p == 1 else n + p - 2)] += weight * row[p]
        if not second or weight == 0.0:
            continue
        if on and t > 0.0:
            bend = weight * (1.0 - burn) * r_b / (2.0 * t)
            out = x[b] - graph.setaside
            hessian[a, a] += bend * out / (x[a] * x[a])
            hessian[b, b] += bend / out
            hessian[max(a, b), min(a, b)] -= bend / x[a]
        row[0], row[1] = (r_a - d_a) / unit, (r_b - d_b) / unit  # of the stake's dual price
        for j in range(m):
            row[2 + j] = graph.load[j, n + e]
        _add_square(hessian, weight * give, row, a, b, n)
    if second and sharp > 0.0:
        _add_square(hessian, sharp, slope, a, b, n)
    return smooth, true


@inner
def _add_square(hessian: Floats, weight: float, row: Floats, a: int, b: int, n: int) -> None:
    """Add ``weight * row row'`` to the lower half, ``row`` standing for (s_a, s_b, u)."""
    for p in range(row.size):
        for q in range(row.size):
            i = a if p == 0 else (b if p == 1 else n + p - 2)
            j = a if q == 0 else (b if q == 1 else n + q - 2)
            if i >= j:
                hessian[i, j] += weight * row[p] * row[q]
