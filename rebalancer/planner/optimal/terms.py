"""What one holding, one pool and one stake are best worth alone, at given dual prices.

A pool in which ``a`` is sold for ``b`` earns, each token's oracle value being 1,

    arb = s_a R_a / gamma * (t - 1)^2,    t = sqrt(gamma s_b R_b / (s_a R_a)) > 1
    in  = R_a (t - 1) / gamma,            out = R_b (t - 1) / t

(Angeris et al., arXiv 2204.05238). With ``b`` the burned fraction of a pool, everything in it
scales with ``1 - b``: swap and burn together are worth ``b (s.R) + (1 - b) arb``.
"""

from __future__ import annotations

from math import inf, sqrt

from rebalancer.planner.optimal.compiled import inner
from rebalancer.planner.optimal.graph import Floats, Graph


@inner
def respond(
    slope: float,
    held: float,
    target: float,
    stiff: float,
    above: Floats,
    rate: Floats,
    i: int,
    toll: float,
    low: float,
    high: float,
) -> tuple[float, float, float]:
    """Maximise ``slope y - stiff/2 (y - target)^2 - tax(held - y)`` over ``low <= y <= high``.

    Row ``i`` of ``above`` and ``rate`` are the tiers; ``toll`` is a tax on all that is sold, the
    tiers come on top. Returns y, the tax due there, and
    by how much y grows per unit of slope.
    """
    y = target + slope / stiff
    give = 1.0 / stiff
    if y < held and (above.shape[1] > 0 or toll > 0.0):
        start, due = 0.0, toll
        for tier in range(above.shape[1] + 1):
            end = above[i, tier] if tier < above.shape[1] else inf
            y = target + (slope + due) / stiff
            if held - y < start:
                y, give = held - start, 0.0
                break
            if held - y <= end:
                break
            start, due = end, toll + rate[i, tier]
        if y > held:
            y, give = held, 0.0
    if y > high:
        y, give = high, 0.0
    if y < low:
        y, give = low, 0.0
    tax = 0.0
    last = 0.0
    if y < held:
        tax = toll * (held - y)
        for tier in range(above.shape[1]):
            if held - y > above[i, tier]:
                tax += (rate[i, tier] - last) * (held - y - above[i, tier])
                last = rate[i, tier]
    return y, tax, give


@inner
def holding(
    graph: Graph, i: int, price: float, lean: float, low: float, high: float
) -> tuple[float, float, float, float, float]:
    """Asset ``i`` at its best where it is traded at ``price``, and ``lean`` is its factors' price.

    Returns what that is worth, y, by how much y falls per unit of price, its drift, and by how much
    that falls per unit of lean. What is owed and missing costs more than any other use of money.
    """
    held, target, stiff, owed = graph.held[i], graph.target[i], graph.stiff[i], graph.owed[i]
    if owed > 0.0 and price > graph.urgency:
        slack = graph.urgency / owed
        missing = (price - graph.urgency) / slack
        give = 1.0 / slack
        if missing > owed:
            missing, give = owed, 0.0
        lost = (graph.urgency + 0.5 * slack * missing) * missing
        value = price * (missing + held) - lost - 0.5 * stiff * target * target + lean * target
        return value, -missing, give, -target, 0.0
    if stiff == 0.0:
        return price * held, 0.0, 0.0, 0.0, 0.0
    above, rate, toll = graph.tax_above, graph.tax_rate, graph.toll
    return kept(held, target, stiff, above, rate, i, toll, price, lean, max(low, 0.0), high)


@inner
def kept(
    held: float,
    target: float,
    stiff: float,
    above: Floats,
    rate: Floats,
    i: int,
    toll: float,
    price: float,
    lean: float,
    low: float,
    high: float,
) -> tuple[float, float, float, float, float]:
    """``holding`` of a position of which nothing is owed."""
    y, tax, give = respond(1.0 - price - lean, held, target, stiff, above, rate, i, toll, low, high)
    off = y - target
    value = y - price * (y - held) - 0.5 * stiff * off * off - tax - lean * off
    return value, y, give, off, give


@inner
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


@inner
def stake_term(
    graph: Graph, k: int, arb: float, low: float, high: float, x: Floats
) -> tuple[float, float, float, float]:
    """The stake in pool ``k`` at its best, between ``low`` and ``high``, the swap earning ``arb``.

    ``b`` pays ``b (s.R)`` and costs ``b arb``: the stake sells at ``(s.R - arb) / unit``. Returns
    the whole term, y, by how much y grows per unit of slope, and b.
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
    if y < low:
        y, give = low, 0.0
    elif y > high:
        y, give = high, 0.0
    off = y - target
    value = arb + y - price * (y - held) - 0.5 * stiff * off * off - lean * off
    return value, y, give, (held - y) / unit
