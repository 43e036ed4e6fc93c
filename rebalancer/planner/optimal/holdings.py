"""What the assets add to the dual: each is kept, or more of it, at no cost, or sold for a fee."""

from __future__ import annotations

from math import inf

from rebalancer.planner.optimal.case import Best, Case
from rebalancer.planner.optimal.compiled import inner
from rebalancer.planner.optimal.graph import Floats, Graph
from rebalancer.planner.optimal.terms import holding, kept


@inner
def with_holdings(
    graph: Graph, case: Case, mu: float, x: Floats, best: Best, gradient: Floats, hessian: Floats
) -> tuple[float, float]:
    """The terms of all assets.

    Most are free to sell, and done here on arrays taken out of the graph once: each time that one
    is taken out costs two counts of its references, more than the arithmetic.
    """
    held, target, stiff, owed, load = graph.held, graph.target, graph.stiff, graph.owed, graph.load
    above, rate, toll, least = graph.tax_above, graph.tax_rate, graph.toll, case.least
    fee, top, sales = case.fee, case.top, best.sale
    n, m, second = held.size, load.shape[0], hessian.size > 0
    value, exact = 0.0, 0.0
    for i in range(n):
        if owed[i] > 0.0 or (stiff[i] > 0.0 and not (fee[i] == 0.0 and least[i] == 0.0)):
            smooth, true = _with_holding(graph, case, i, mu, x, best, gradient, hessian)
            value += smooth
            exact += true
            continue
        if stiff[i] == 0.0:
            continue
        sales[i] = -inf
        lean = 0.0
        for j in range(m):
            lean += load[j, i] * x[n + j]
        worth, y, give, off, _ = kept(
            held[i], target[i], stiff[i], above, rate, i, toll, x[i], lean, 0.0, top[i]
        )
        value += worth
        exact += worth
        gradient[i] += held[i] - y
        for j in range(m):
            gradient[n + j] -= load[j, i] * off
        if second:
            hessian[i, i] += give
            for j in range(m):
                hessian[n + j, i] += load[j, i] * give
                for p in range(j + 1):
                    hessian[n + j, n + p] += load[j, i] * give * load[p, i]
    return value, exact


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
    decided = fee == 0.0 and case.least[i] == 0.0
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
def sale(
    graph: Graph, case: Case, i: int, price: float, lean: float
) -> tuple[float, float, float, float, float, float]:
    """What selling asset ``i`` earns beyond keeping it, less its fee; then ``holding`` of selling.

    Selling is to sell ``least`` of it at least. Only of an asset that is better sold.
    """
    held, top = graph.held[i], case.top[i]
    stay, _, _, _, _ = holding(graph, i, price, lean, held, max(top, held))
    most = min(top, held - case.least[i])
    value, y, give, off, bend = holding(graph, i, price, lean, 0.0, most)
    return value - stay - case.fee[i], value, y, give, off, bend


@inner
def leaning(graph: Graph, i: int, x: Floats) -> float:
    """What the factors charge for a unit of asset ``i``."""
    lean = 0.0
    for j in range(graph.load.shape[0]):
        lean += graph.load[j, i] * x[graph.held.size + j]
    return lean


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
