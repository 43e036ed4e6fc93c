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
from rebalancer.planner.optimal.holdings import rounded, with_holdings
from rebalancer.planner.optimal.terms import stake_term, trade


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
    value, exact = with_holdings(graph, case, mu, x, best, gradient, hessian)
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
            both = 2.0 if p == q else 1.0
            if t > 0.0:
                bend = used * graph.reserve[k, 1 - side] / (2.0 * t)
                out = x[b] - graph.setaside
                hessian[a, a] += bend * out / (x[a] * x[a])
                hessian[b, b] += bend / out
                hessian[p, q] -= both * bend / x[a]
            if sharp > 0.0:
                hessian[a, a] += sharp * amount_in * amount_in
                hessian[b, b] += sharp * amount_out * amount_out
                hessian[p, q] -= both * sharp * amount_in * amount_out
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
