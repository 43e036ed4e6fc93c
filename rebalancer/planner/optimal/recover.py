"""What trades are worth, and how rounding is taken out of them: the compiled part of both."""

from __future__ import annotations

import numpy as np

from rebalancer.planner.optimal.compiled import compiled, inner
from rebalancer.planner.optimal.graph import Floats, Graph, Ints

#: Passes over holdings that trades overdraw by rounding.
_REPAIRS = 50


@inner
def net_of(
    graph: Graph, sides: Ints, inputs: Floats, outputs: Floats, burns: Floats
) -> tuple[Floats, Floats]:
    """What trades take from and add to each asset, both positive."""
    taken, added = np.zeros(graph.held.size), np.zeros(graph.held.size)
    for k in range(graph.gamma.size):
        taken[graph.token[k, sides[k]]] += inputs[k]
        added[graph.token[k, 1 - sides[k]]] += outputs[k]
        e = graph.stake_of[k]
        if e >= 0:
            for side in range(2):
                flow = burns[e] * graph.reserve[k, side]
                if flow > 0.0:
                    added[graph.token[k, side]] += flow
                else:
                    taken[graph.token[k, side]] -= flow
    return taken, added


@inner
def repair(graph: Graph, sides: Ints, inputs: Floats, outputs: Floats, burns: Floats) -> None:
    """Sell less of what trades overdraw, in place: rounding of prices times deep pools."""
    factor = np.ones(graph.held.size)
    for _ in range(_REPAIRS):
        taken, added = net_of(graph, sides, inputs, outputs, burns)
        done = True
        for i in range(factor.size):
            have = added[i] + (graph.held[i] + graph.owed[i] if graph.stiff[i] > 0.0 else 0.0)
            factor[i] = 1.0
            if taken[i] > have:
                done = False
                factor[i] = have / taken[i] * (1.0 - 1e-15)
        if done:
            return
        for k in range(inputs.size):
            kept = 1.0
            e = graph.stake_of[k]
            if e >= 0:
                if burns[e] < 0.0:
                    burns[e] *= min(factor[graph.token[k, 0]], factor[graph.token[k, 1]])
                kept = 1.0 - burns[e]
            inputs[k] *= factor[graph.token[k, sides[k]]]
            after = graph.gamma[k] * inputs[k]
            whole = kept * graph.reserve[k, sides[k]] + after
            outputs[k] = kept * graph.reserve[k, 1 - sides[k]] * after / whole


@compiled
def settle(
    graph: Graph, sides: Ints, inputs: Floats, outputs: Floats, burns: Floats
) -> tuple[float, Floats, Floats, float]:
    """``repair`` the trades, in place, then ``worth_of`` them."""
    repair(graph, sides, inputs, outputs, burns)
    return worth_of(graph, sides, inputs, outputs, burns)


@inner
def worth_of(
    graph: Graph, sides: Ints, inputs: Floats, outputs: Floats, burns: Floats
) -> tuple[float, Floats, Floats, float]:
    """Objective without gas, holdings, stakes, and the most that a holding is overdrawn by."""
    n, m = graph.held.size, graph.load.shape[0]
    taken, added = net_of(graph, sides, inputs, outputs, burns)
    holdings, stakes = np.empty(n), np.empty(burns.size)
    drift = np.zeros(m)
    value, overdrawn = 0.0, 0.0
    for i in range(n):
        holdings[i] = graph.held[i] + added[i] - taken[i]
        kept, missing = max(holdings[i], 0.0), max(-holdings[i], 0.0)
        if graph.owed[i] > 0.0:
            value -= graph.urgency * missing * (1.0 + 0.5 * missing / graph.owed[i])
            overdrawn = max(overdrawn, missing - graph.owed[i])
        elif graph.stiff[i] == 0.0:
            overdrawn = max(overdrawn, graph.held[i] - holdings[i])
        else:
            overdrawn = max(overdrawn, missing)
        if graph.stiff[i] == 0.0:
            continue
        off = kept - graph.target[i]
        value += kept - 0.5 * graph.stiff[i] * off * off
        value -= graph.toll * max(graph.held[i] - kept, 0.0)
        last = 0.0
        for tier in range(graph.tax_above.shape[1]):
            beyond = graph.held[i] - kept - graph.tax_above[i, tier]
            if beyond > 0.0:
                value -= (graph.tax_rate[i, tier] - last) * beyond
                last = graph.tax_rate[i, tier]
        for j in range(m):
            drift[j] += graph.load[j, i] * off
    for e in range(stakes.size):
        stakes[e] = graph.stake_held[e] - burns[e] * graph.stake_unit[e]
        overdrawn = max(overdrawn, -stakes[e])
        off = stakes[e] - graph.stake_target[e]
        value += stakes[e] - 0.5 * graph.stake_stiff[e] * off * off
        for j in range(m):
            drift[j] += graph.load[j, n + e] * off
    for j in range(m):
        value -= 0.5 * graph.kappa * drift[j] * drift[j]
    for k in range(inputs.size):
        value -= graph.setaside * outputs[k]
    return value, holdings, stakes, overdrawn
