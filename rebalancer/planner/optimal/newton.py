"""Damped Newton steps that minimise the dual, and where they start."""

from __future__ import annotations

from math import inf, sqrt

import numpy as np

from rebalancer.planner.optimal.case import Best, Case
from rebalancer.planner.optimal.compiled import compiled, inner
from rebalancer.planner.optimal.dual import evaluate
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
#: At a kink of g, where what is sold jumps from nothing to its least, steps promise what they do
#: not keep: so many that gain little, and so small a part of what they promise, are enough.
_STALLED_STEPS, _LITTLE, _KEPT = 3, 1e-9, 1e-2
#: Where g falls in a straight line, by all that a step promises instead of half of it and as much
#: at each, it has no least: what is to be sold has no pool. So many such steps show it, but where
#: something is owed: the price of that may have far to go.
_STRAIGHT, _STRAIGHT_STEPS = 0.9, 15
#: Keep at least this share of a price in one step: g has no meaning below 0.
_KEEP = 0.05
#: A curvature below this share of the typical one cannot be stepped by.
_FLAT = 1e-9


@inner
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
    graph: Graph, case: Case, mu: float, x: Floats, best: Best, most_steps: int
) -> tuple[float, int, float]:
    """Minimise g from ``x`` on, in place; returns g as it is there, the steps, the last decrement.

    ``best`` is filled for these prices. Damped Newton: g is convex and once differentiable, its
    curvature jumps where a pool comes into play or a holding reaches 0.
    """
    n, size = graph.held.size, x.size
    gradient, step, tried = np.empty(size), np.empty(size), np.empty(size)
    hessian, none = np.empty((size, size)), np.empty((0, 0))
    flat = 1.0 / graph.kappa
    exact, decrement, steps, polished, trusted, stalled = inf, inf, 0, 0, 0, 0
    before, straight, most_straight = inf, 0, _STRAIGHT_STEPS
    for i in range(n):
        if graph.owed[i] > 0.0:
            most_straight = most_steps
    if most_steps == 0:
        _, exact = evaluate(graph, case, mu, x, best, gradient, none)
        return exact, steps, decrement
    stale = False
    for step_number in range(most_steps):
        steps = step_number
        value, exact = evaluate(graph, case, mu, x, best, gradient, hessian)
        stale = False
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
            for i in range(size):
                x[i] += step[i]
            stale = True
            continue
        if decrement < _POLISH * (1.0 + abs(value)):
            polished += 1
            if polished > _POLISH_STEPS:
                break
        length = 1.0
        for i in range(n):
            if step[i] < 0.0 and -step[i] * length > (1.0 - _KEEP) * x[i]:
                length = -(1.0 - _KEEP) * x[i] / step[i]
        better, stale = False, True
        for _ in range(50):
            for i in range(size):
                tried[i] = x[i] + length * step[i]
            now, _ = evaluate(graph, case, mu, tried, best, gradient, none)
            if now <= value - 1e-4 * length * decrement:
                better = True
                break
            length *= 0.5
        if not better:
            break
        for i in range(size):
            x[i] = tried[i]
        if value - now < min(_KEPT * decrement, _LITTLE):
            stalled += 1
            if stalled > _STALLED_STEPS:
                break
        if value - now > _STRAIGHT * decrement > _STRAIGHT**2 * before:
            straight += 1
            if straight > most_straight:
                break
        before = decrement
    if stale:
        _, exact = evaluate(graph, case, mu, x, best, gradient, none)
    return exact, steps, decrement


@compiled
def resting_prices(graph: Graph) -> Floats:
    """Dual prices at which today's holdings are the best ones.

    ``s = 1 - stiff (h - w) - F'u`` with ``u = kappa F (h - w)``; an intermediate is at the oracle's
    price, and what is owed at the price of what is missing of it.
    """
    n, m = graph.held.size, graph.load.shape[0]
    x = np.zeros(n + m)
    for j in range(m):
        for i in range(n):
            off = max(graph.held[i], 0.0) - graph.target[i]
            if graph.stiff[i] > 0.0:
                x[n + j] += graph.kappa * graph.load[j, i] * off
        for e in range(graph.stake_held.size):
            off = graph.stake_held[e] - graph.stake_target[e]
            x[n + j] += graph.kappa * graph.load[j, n + e] * off
    for i in range(n):
        x[i] = 1.0 - graph.stiff[i] * (graph.held[i] - graph.target[i])
        if graph.stiff[i] > 0.0:
            for j in range(m):
                x[i] -= graph.load[j, i] * x[n + j]
        if graph.held[i] < 0.0:
            x[i] = graph.urgency * (1.0 - graph.held[i] / graph.owed[i])
    return x
