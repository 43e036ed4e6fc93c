"""From dual prices back to trades, and what trades are worth: the compiled part of both."""

from __future__ import annotations

from math import inf

import numpy as np

from rebalancer.planner.optimal.compiled import compiled
from rebalancer.planner.optimal.dual import stake_term, trade
from rebalancer.planner.optimal.graph import Floats, Graph, Ints

#: Passes over holdings that trades overdraw by rounding.
_REPAIRS = 50


@compiled
def trades_at(
    graph: Graph, charge: Floats, low: Floats, high: Floats, x: Floats
) -> tuple[Ints, Floats, Floats, Floats]:
    """The trades that earn most at the prices ``x``: sides, inputs, outputs, burned fractions.

    A pool is used where it earns more than its charge. See ``relaxation.Trades``.
    """
    pools = graph.gamma.size
    sides = np.zeros(pools, dtype=np.int64)
    inputs, outputs = np.zeros(pools), np.zeros(pools)
    burns = np.zeros(graph.stake_held.size)
    for k in range(pools):
        earned, kept = 0.0, 1.0
        for side in range(2):
            arb, amount_in, amount_out, t = trade(
                graph.reserve[k, side],
                graph.reserve[k, 1 - side],
                graph.gamma[k],
                graph.reach[k],
                x[graph.token[k, side]],
                x[graph.token[k, 1 - side]] - graph.setaside,
            )
            if t != 0.0 and charge[k, side] < inf:
                sides[k], inputs[k], outputs[k], earned = side, amount_in, amount_out, arb
        cost = charge[k, sides[k]]
        e = graph.stake_of[k]
        if e >= 0:
            off_value, _, _, burn, _ = stake_term(graph, k, 0.0, low, high, x)
            if inputs[k] > 0.0:
                on_value, _, _, on_burn, _ = stake_term(graph, k, earned, low, high, x)
                earned = on_value - off_value
                if earned > cost:
                    burn = on_burn
            burns[e] = burn
            kept = 1.0 - burn
        if inputs[k] > 0.0 and earned <= cost:
            inputs[k], outputs[k] = 0.0, 0.0
        inputs[k] *= kept
        outputs[k] *= kept
    return sides, inputs, outputs, burns


@compiled
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


@compiled
def repair(graph: Graph, sides: Ints, inputs: Floats, outputs: Floats, burns: Floats) -> None:
    """Sell less of what trades overdraw, in place: rounding of prices times deep pools."""
    factor = np.ones(graph.held.size)
    for _ in range(_REPAIRS):
        taken, added = net_of(graph, sides, inputs, outputs, burns)
        done = True
        for i in range(factor.size):
            have = added[i] + (graph.held[i] if graph.stiff[i] > 0.0 else 0.0)
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
def worth_of(
    graph: Graph, sides: Ints, inputs: Floats, outputs: Floats, burns: Floats
) -> tuple[float, Floats, Floats, float]:
    """Objective without gas, holdings, stakes, and the most that a holding is overdrawn by."""
    n, m = graph.held.size, graph.load.shape[0]
    taken, added = net_of(graph, sides, inputs, outputs, burns)
    holdings = graph.held + added - taken
    stakes = graph.stake_held - burns * graph.stake_unit
    drift = np.zeros(m)
    value, overdrawn = 0.0, 0.0
    for i in range(n):
        if graph.stiff[i] == 0.0:
            overdrawn = max(overdrawn, graph.held[i] - holdings[i])
            continue
        overdrawn = max(overdrawn, -holdings[i])
        off = holdings[i] - graph.target[i]
        value += holdings[i] - 0.5 * graph.stiff[i] * off * off
        last = 0.0
        for tier in range(graph.tax_above.shape[1]):
            beyond = graph.held[i] - holdings[i] - graph.tax_above[i, tier]
            if beyond > 0.0:
                value -= (graph.tax_rate[i, tier] - last) * beyond
                last = graph.tax_rate[i, tier]
        for j in range(m):
            drift[j] += graph.load[j, i] * off
    for e in range(stakes.size):
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
