"""The dual of the relaxed problem, and damped Newton steps that minimise it.

    g(s, u) = sum_i  max_y [(1 - s_i) y - stiff_i/2 (y - w_i)^2 - tax(h_i - y) - (F'u)_i (y - w_i)]
              + s.h + |u|^2 / (2 kappa) + sum_k arb_k(s)

in shares of NAV, ``s`` the dual price of each asset over its oracle price and ``u`` of each factor.
Every ``(s, u)`` bounds the best plan from above. A pool in which ``a`` is sold for ``b`` earns

    arb = s_a R_a / gamma * (t - 1)^2,    t = sqrt(gamma s_b R_b / (s_a R_a)) > 1
    in  = R_a (t - 1) / gamma,            out = R_b (t - 1) / t

(Angeris et al., arXiv 2204.05238), each token's oracle value being 1. ``charge[k, d]`` is what
using direction ``d`` of pool ``k`` costs: 0 for free, inf for never, and in between the pool counts
``max(0, arb - charge)``, rounded off over a width ``mu`` so that Newton steps work. ``d`` is the
side that is sold.
"""

from __future__ import annotations

from math import inf, sqrt

import numpy as np

from rebalancer.planner.optimal.compiled import compiled
from rebalancer.planner.optimal.graph import Floats, Graph

#: Most Newton steps; 10 to 30 are usual.
MAX_STEPS = 200
#: Stop when half the Newton decrement, an estimate of how far g is from its least, is this share of
#: the values that g is summed from: below it all is rounding.
_ROUNDING = 1e-16
#: Below this share the values that a line search compares are mostly rounding: few more steps.
_POLISH = 1e-12
_POLISH_STEPS = 20
#: Steps beyond what g can tell: they bring the trades, which g depends on in second order only, in
#: line with each other.
_TRUSTED_STEPS = 3
#: Keep at least this share of a price in one step: g has no meaning below 0.
_KEEP = 0.05
#: A curvature below this share of the typical one cannot be stepped by.
_FLAT = 1e-9


@compiled
def respond(
    slope: float,
    held: float,
    target: float,
    stiff: float,
    above: Floats,
    rate: Floats,
    low: float,
    high: float,
) -> tuple[float, float, float]:
    """Maximise ``slope y - stiff/2 (y - target)^2 - tax(held - y)`` over ``low <= y <= high``.

    Returns y, the tax due there, and by how much y grows per unit of slope.
    """
    y = target + slope / stiff
    give = 1.0 / stiff
    if above.size and y < held:
        start, due = 0.0, 0.0
        for tier in range(above.size + 1):
            end = above[tier] if tier < above.size else inf
            y = target + (slope + due) / stiff
            if held - y < start:
                y, give = held - start, 0.0
                break
            if held - y <= end:
                break
            start, due = end, rate[tier]
    if y < low:
        y, give = low, 0.0
    elif y > high:
        y, give = high, 0.0
    tax = 0.0
    last = 0.0
    for tier in range(above.size):
        if held - y > above[tier]:
            tax += (rate[tier] - last) * (held - y - above[tier])
            last = rate[tier]
    return y, tax, give


@compiled
def trade(
    reserve_in: float,
    reserve_out: float,
    gamma: float,
    reach: float,
    price_in: float,
    price_out: float,
) -> tuple[float, float, float, float]:
    """What a pool earns at these prices by its best swap: arb, input, output, and t (see above).

    All 0 inside the fee band. ``t`` is negative where the impact limit ``reach`` cuts the swap.
    """
    if price_out <= 0.0 or gamma * price_out * reserve_out <= price_in * reserve_in:
        return 0.0, 0.0, 0.0, 0.0
    square = gamma * price_out * reserve_out / (price_in * reserve_in)
    t = sqrt(square)
    if t > reach:
        amount_in = reserve_in * (reach - 1.0) / gamma
        amount_out = reserve_out * (reach - 1.0) / reach
        return price_out * amount_out - price_in * amount_in, amount_in, amount_out, -reach
    beyond = (square - 1.0) / (t + 1.0)
    amount_in = reserve_in * beyond / gamma
    return price_in * amount_in * beyond, amount_in, reserve_out * beyond / t, t


@compiled
def evaluate(
    graph: Graph,
    charge: Floats,
    low: Floats,
    high: Floats,
    mu: float,
    x: Floats,
    gradient: Floats,
    hessian: Floats,
    second: bool,
) -> tuple[float, float]:
    """g at ``x = (s, u)``: rounded off, and as it is. Fills the gradient and, lower half only, the
    Hessian of the former; ``low`` and ``high`` bound the stakes."""
    n, m = graph.held.size, graph.load.shape[0]
    gradient[:] = 0.0
    if second:
        hessian[:, :] = 0.0
    value = 0.0
    for i in range(n):
        stiff = graph.stiff[i]
        if stiff == 0.0:
            continue
        lean = 0.0
        for j in range(m):
            lean += graph.load[j, i] * x[n + j]
        y, tax, give = respond(
            1.0 - x[i] - lean,
            graph.held[i],
            graph.target[i],
            stiff,
            graph.tax_above[i],
            graph.tax_rate[i],
            0.0,
            inf,
        )
        off = y - graph.target[i]
        value += y - x[i] * (y - graph.held[i]) - 0.5 * stiff * off * off - tax - lean * off
        gradient[i] += graph.held[i] - y
        for j in range(m):
            gradient[n + j] -= graph.load[j, i] * off
        if second:
            hessian[i, i] += give
            for j in range(m):
                hessian[n + j, i] += give * graph.load[j, i]
                for p in range(j + 1):
                    hessian[n + j, n + p] += give * graph.load[j, i] * graph.load[p, i]
    for j in range(m):
        value += x[n + j] * x[n + j] / (2.0 * graph.kappa)
        gradient[n + j] += x[n + j] / graph.kappa
        if second:
            hessian[n + j, n + j] += 1.0 / graph.kappa
    exact = value
    for k in range(graph.gamma.size):
        side = 0
        for side in range(2):
            a, b = graph.token[k, side], graph.token[k, 1 - side]
            arb, amount_in, amount_out, t = trade(
                graph.reserve[k, side],
                graph.reserve[k, 1 - side],
                graph.gamma[k],
                graph.reach[k],
                x[a],
                x[b] - graph.setaside,
            )
            if t != 0.0:
                break
        cost = charge[k, side]
        if t != 0.0 and cost == inf:
            arb, amount_in, amount_out, t = 0.0, 0.0, 0.0, 0.0
        if graph.stake_of[k] >= 0:
            smooth, true = _with_stake(
                graph, k, side, arb, amount_in, amount_out, t, cost, low, high, mu, x,
                gradient, hessian, second,
            )  # fmt: skip
            value += smooth
            exact += true
            continue
        if arb <= cost:
            continue
        exact += arb - cost
        used, sharp = 1.0, 0.0
        if cost > 0.0 and arb - cost < mu:
            used, sharp = (arb - cost) / mu, 1.0 / mu
            value += 0.5 * used * (arb - cost)
        else:
            value += arb - cost - (0.5 * mu if cost > 0.0 else 0.0)
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


@compiled
def stake_term(
    graph: Graph, k: int, arb: float, low: Floats, high: Floats, x: Floats
) -> tuple[float, float, float, float, float]:
    """The stake in pool ``k`` at its best, the swap in the pool earning ``arb``.

    With ``b`` the burned fraction of the pool, all of ``arb`` scales with ``1 - b``, and ``b`` pays
    ``b (s.R)``: the stake sells at the dual price ``(s.R - arb) / unit``. Returns the whole term,
    y, by how much y grows per unit of slope, b, and the lean of the factors.
    """
    n, m, e = graph.held.size, graph.load.shape[0], graph.stake_of[k]
    lean = 0.0
    for j in range(m):
        lean += graph.load[j, n + e] * x[n + j]
    unit, held, target = graph.stake_unit[e], graph.stake_held[e], graph.stake_target[e]
    stiff = graph.stake_stiff[e]
    pays = x[graph.token[k, 0]] * graph.reserve[k, 0] + x[graph.token[k, 1]] * graph.reserve[k, 1]
    price = (pays - arb) / unit
    y = target + (1.0 - price - lean) / stiff
    give = 1.0 / stiff
    if y < low[e]:
        y, give = low[e], 0.0
    elif y > high[e]:
        y, give = high[e], 0.0
    off = y - target
    value = arb + y - price * (y - held) - 0.5 * stiff * off * off - lean * off
    return value, y, give, (held - y) / unit, lean


@compiled
def _with_stake(
    graph: Graph,
    k: int,
    side: int,
    arb: float,
    amount_in: float,
    amount_out: float,
    t: float,
    cost: float,
    low: Floats,
    high: Floats,
    mu: float,
    x: Floats,
    gradient: Floats,
    hessian: Floats,
    second: bool,
) -> tuple[float, float]:
    """The term of a pool with a stake: as above, without the swap and mixed with it."""
    n, m, e = graph.held.size, graph.load.shape[0], graph.stake_of[k]
    off_value, off_y, off_give, off_burn, _ = stake_term(graph, k, 0.0, low, high, x)
    on_value, on_y, on_give, on_burn, _ = off_value, off_y, off_give, off_burn, 0.0
    used, sharp, smooth, true = 0.0, 0.0, off_value, off_value
    if t != 0.0:
        on_value, on_y, on_give, on_burn, _ = stake_term(graph, k, arb, low, high, x)
        earned = on_value - off_value - cost
        if earned > 0.0:
            true += earned
            used = 1.0
            if cost > 0.0 and earned < mu:
                used, sharp = earned / mu, 1.0 / mu
                smooth += 0.5 * used * earned
            else:
                smooth += earned - (0.5 * mu if cost > 0.0 else 0.0)
    a, b = graph.token[k, side], graph.token[k, 1 - side]
    r_a, r_b, unit = graph.reserve[k, side], graph.reserve[k, 1 - side], graph.stake_unit[e]
    slope = np.zeros(2 + m)  # of the value with the swap less that without, by (s_a, s_b, u)
    for on in range(2):
        weight = used if on else 1.0 - used
        y, give, burn = (on_y, on_give, on_burn) if on else (off_y, off_give, off_burn)
        d_a = -amount_in if on else 0.0
        d_b = amount_out if on else 0.0
        by = np.empty(2 + m)
        by[0] = (1.0 - burn) * d_a + burn * r_a
        by[1] = (1.0 - burn) * d_b + burn * r_b
        for j in range(m):
            by[2 + j] = graph.load[j, n + e] * (graph.stake_target[e] - y)
        slope += by if on else -by
        if weight == 0.0:
            continue
        gradient[a] += weight * by[0]
        gradient[b] += weight * by[1]
        for j in range(m):
            gradient[n + j] += weight * by[2 + j]
        if not second:
            continue
        if on and t > 0.0:
            bend = weight * (1.0 - burn) * r_b / (2.0 * t)
            out = x[b] - graph.setaside
            hessian[a, a] += bend * out / (x[a] * x[a])
            hessian[b, b] += bend / out
            hessian[max(a, b), min(a, b)] -= bend / x[a]
        row = np.empty(2 + m)  # of the stake's dual price, by (s_a, s_b, u)
        row[0], row[1] = (r_a - d_a) / unit, (r_b - d_b) / unit
        for j in range(m):
            row[2 + j] = graph.load[j, n + e]
        _rank_one(hessian, weight * give, row, a, b, n)
    if second and sharp > 0.0:
        _rank_one(hessian, sharp, slope, a, b, n)
    return smooth, true


@compiled
def _rank_one(hessian: Floats, weight: float, row: Floats, a: int, b: int, n: int) -> None:
    """Add ``weight * row row'`` to the lower half, ``row`` standing for (s_a, s_b, u)."""
    for p in range(row.size):
        for q in range(row.size):
            i = a if p == 0 else (b if p == 1 else n + p - 2)
            j = a if q == 0 else (b if q == 1 else n + q - 2)
            if i >= j:
                hessian[i, j] += weight * row[p] * row[q]


@compiled
def newton_step(hessian: Floats, gradient: Floats, step: Floats, flat: float) -> None:
    """Solve ``H step = -gradient`` by Cholesky in place; flat directions get a small curvature."""
    n = gradient.size
    for j in range(n):
        pivot = hessian[j, j]
        before = pivot
        for c in range(j):
            pivot -= hessian[j, c] * hessian[j, c]
        if pivot <= 1e-14 * before or pivot < _FLAT * flat:
            pivot = max(pivot, 0.0) + max(1e-12 * before, flat)
        pivot = sqrt(pivot)
        hessian[j, j] = pivot
        for i in range(j + 1, n):
            entry = hessian[i, j]
            for c in range(j):
                entry -= hessian[i, c] * hessian[j, c]
            hessian[i, j] = entry / pivot
    for i in range(n):
        entry = -gradient[i]
        for c in range(i):
            entry -= hessian[i, c] * step[c]
        step[i] = entry / hessian[i, i]
    for i in range(n - 1, -1, -1):
        entry = step[i]
        for c in range(i + 1, n):
            entry -= hessian[c, i] * step[c]
        step[i] = entry / hessian[i, i]


@compiled
def minimise(
    graph: Graph, charge: Floats, low: Floats, high: Floats, mu: float, x: Floats
) -> tuple[float, int, float]:
    """Minimise g from ``x`` on, in place; returns g as it is there, the steps, the last decrement.

    Damped Newton: g is convex and once differentiable, its curvature jumps where a pool comes into
    play or a holding reaches 0.
    """
    n, size = graph.held.size, x.size
    gradient, step, tried = np.empty(size), np.empty(size), np.empty(size)
    hessian = np.empty((size, size))
    flat = 1.0 / graph.kappa
    exact, decrement, steps, polished, trusted = inf, inf, 0, 0, 0
    for step_number in range(MAX_STEPS):
        steps = step_number
        value, exact = evaluate(graph, charge, low, high, mu, x, gradient, hessian, True)
        newton_step(hessian, gradient, step, flat)
        decrement = 0.0
        for i in range(size):
            decrement -= gradient[i] * step[i]
        if not decrement > 2.0 * _ROUNDING * (1.0 + abs(value)):
            # g cannot tell any more; the trades still can, so take some steps on trust.
            trusted += 1
            if trusted > _TRUSTED_STEPS:
                break
            for i in range(n):
                if x[i] + step[i] < _KEEP * x[i]:
                    trusted = _TRUSTED_STEPS + 1
            if trusted > _TRUSTED_STEPS or decrement == 0.0:
                break
            x += step
            continue
        if decrement < _POLISH * (1.0 + abs(value)):
            polished += 1
            if polished > _POLISH_STEPS:
                break
        length = 1.0
        for i in range(n):
            if step[i] < 0.0 and -step[i] * length > (1.0 - _KEEP) * x[i]:
                length = -(1.0 - _KEEP) * x[i] / step[i]
        better = False
        for _ in range(50):
            for i in range(size):
                tried[i] = x[i] + length * step[i]
            now, _ = evaluate(graph, charge, low, high, mu, tried, gradient, hessian, False)
            if now <= value - 1e-4 * length * decrement:
                better = True
                break
            length *= 0.5
        if not better:
            break
        x[:] = tried
    return exact, steps, decrement


@compiled
def resting_prices(graph: Graph) -> Floats:
    """Dual prices at which today's holdings are the best ones.

    ``s = 1 - stiff (h - w) - F'u`` with ``u = kappa F (h - w)``; an intermediate is at the oracle's
    price.
    """
    n, m = graph.held.size, graph.load.shape[0]
    x = np.zeros(n + m)
    for j in range(m):
        for i in range(n):
            x[n + j] += graph.kappa * graph.load[j, i] * (graph.held[i] - graph.target[i])
        for e in range(graph.stake_held.size):
            off = graph.stake_held[e] - graph.stake_target[e]
            x[n + j] += graph.kappa * graph.load[j, n + e] * off
    for i in range(n):
        x[i] = 1.0 - graph.stiff[i] * (graph.held[i] - graph.target[i])
        if graph.stiff[i] > 0.0:
            for j in range(m):
                x[i] -= graph.load[j, i] * x[n + j]
    return x
