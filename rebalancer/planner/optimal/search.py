"""What branch and bound does at a node, compiled: charges, the bound, supports and their value.

An *item* is a direction of a pool, ``edge[k, side]`` with ``side`` what is sold, or a direction of
a stake, ``stake[e, 0]`` to burn and ``stake[e, 1]`` to mint. Each is OUT, OPEN or IN. All costs are
shares of NAV.
"""

from __future__ import annotations

from math import inf
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rebalancer.planner.optimal.compiled import compiled
from rebalancer.planner.optimal.dual import evaluate, minimise, stake_term, trade
from rebalancer.planner.optimal.graph import Floats, Graph, Ints
from rebalancer.planner.optimal.recover import repair, trades_at, worth_of

OUT, OPEN, IN = -1, 0, 1
#: How often the tokens' costs are shared out anew in a bound.
_TURNS = 1
#: Below this share of NAV a flow is rounding and its pool not used.
DUST = 1e-11

States = npt.NDArray[np.int8]


class Gas(NamedTuple):
    """Gas as shares of NAV; ``swap`` is after half the chaining saving per intermediate beside."""

    base: float
    swap: Floats  # (K,)
    touch: Floats  # (n,)
    approval: Floats  # (n,), 0 for an intermediate: its pools may pay each other
    stake: Floats  # (L, 2)
    start: Ints  # (n + 1,), pools of token i are around[start[i]:start[i + 1]]
    around: Ints  # (2 K,)


@compiled
def charges(
    graph: Graph, gas: Gas, edge: States, stake: States
) -> tuple[Floats, Floats, Floats, Floats, Floats, float]:
    """What each direction of a pool is charged at a node, and what tokens have not been paid for.

    Items that are IN pay in full, together, once: the last number returned. An OPEN direction is
    charged its swap, an OPEN stake nothing, which is no more than it costs. Returns the charges,
    the touches and the approvals that no item IN has paid, and the bounds of the stakes.
    """
    pools, stakes = graph.gamma.size, graph.stake_held.size
    touch, approval = gas.touch.copy(), gas.approval.copy()
    low, high = np.zeros(stakes), np.full(stakes, inf)
    charge = np.zeros((pools, 2))
    paid = gas.base
    for k in range(pools):
        e = graph.stake_of[k]
        minted = e >= 0 and stake[e, 1] == IN
        moved = minted or (e >= 0 and stake[e, 0] == IN)
        if e >= 0:
            low[e] = graph.stake_held[e] if stake[e, 0] == OUT else 0.0
            high[e] = graph.stake_held[e] if stake[e, 1] == OUT else inf
            for way in range(2):
                paid += gas.stake[e, way] if stake[e, way] == IN else 0.0
        for side in range(2):
            a, b = graph.token[k, side], graph.token[k, 1 - side]
            swaps = edge[k, side] == IN
            if swaps:
                paid += gas.swap[k]
            elif edge[k, side] == OPEN:
                charge[k, side] = gas.swap[k]
            else:
                charge[k, side] = inf
            if swaps or moved:
                paid += touch[a] + touch[b]
                touch[a] = touch[b] = 0.0
            if swaps or minted:
                paid += approval[a]
                approval[a] = 0.0
    return charge, touch, approval, low, high, paid


@compiled
def spread(
    graph: Graph,
    gas: Gas,
    edge: States,
    charge: Floats,
    touch: Floats,
    approval: Floats,
    earned: Floats,
) -> tuple[Floats, float]:
    """Charge the unpaid tokens to the pools that would use them, where there is most to take.

    A plan that uses a pool pays for its tokens; however a token's cost is shared among its pools,
    no plan is charged more than it pays. Here each cost in turn, first all touches and then all
    approvals, takes from what its OPEN pools still earn beyond their charges, from all in
    proportion, until it is covered. What cannot be covered is shared equally. Returns the charges
    with these shares, and all that was taken.
    """
    pools = graph.gamma.size
    left, whole = np.zeros((pools, 2)), charge.copy()
    for k in range(pools):
        for side in range(2):
            if edge[k, side] == OPEN:
                left[k, side] = max(earned[k, side] - charge[k, side], 0.0)
    taken = 0.0
    for selling in range(2):
        for i in range(graph.held.size):
            cost = approval[i] if selling else touch[i]
            if cost == 0.0:
                continue
            there, users = 0.0, 0.0
            for k in gas.around[gas.start[i] : gas.start[i + 1]]:
                for side in range(2):
                    if edge[k, side] == OPEN and (not selling or graph.token[k, side] == i):
                        there += left[k, side]
                        users += 1.0
            if users == 0.0:
                continue
            part = min(1.0, cost / there) if there > 0.0 else 0.0
            taken += part * there
            rest = (cost - part * there) / users
            for k in gas.around[gas.start[i] : gas.start[i + 1]]:
                for side in range(2):
                    if edge[k, side] == OPEN and (not selling or graph.token[k, side] == i):
                        whole[k, side] += part * left[k, side] + rest
                        left[k, side] -= part * left[k, side]
    return whole, taken


@compiled
def bound(
    graph: Graph, gas: Gas, edge: States, stake: States, x: Floats, mu: float, cutoff: float
) -> float:
    """The least upper bound found on what any plan of a node is worth; its prices go into ``x``.

    Every prices bound it; those that minimise the dual with the tokens' costs shared as ``spread``
    shares them do it well, so share and minimise in turn. Stops where the bound reaches ``cutoff``.
    """
    charge, touch, approval, low, high, paid = charges(graph, gas, edge, stake)
    gradient, spare = np.empty(x.size), np.empty((0, 0))
    tried = x.copy()
    best = inf
    for turn in range(_TURNS + 1):
        earned, _ = earnings(graph, low, high, tried)
        whole, taken = spread(graph, gas, edge, charge, touch, approval, earned)
        _, exact = evaluate(graph, charge, low, high, 0.0, tried, gradient, spare, False)
        upper = exact - taken - paid
        if upper < best:
            best = upper
            x[:] = tried
        if best <= cutoff or turn == _TURNS:
            break
        minimise(graph, whole, low, high, mu, tried)
    return best


@compiled
def earnings(graph: Graph, low: Floats, high: Floats, x: Floats) -> tuple[Floats, Floats]:
    """What each direction of each pool, and each stake, earns at prices ``x`` before gas."""
    pools, stakes = graph.gamma.size, graph.stake_held.size
    earned, moved = np.zeros((pools, 2)), np.zeros((stakes, 2))
    for k in range(pools):
        e = graph.stake_of[k]
        swap = 0.0
        for side in range(2):
            arb, _, _, _ = trade(
                graph.reserve[k, side],
                graph.reserve[k, 1 - side],
                graph.gamma[k],
                graph.reach[k],
                x[graph.token[k, side]],
                x[graph.token[k, 1 - side]] - graph.setaside,
            )
            earned[k, side] = arb
            swap += arb
            if e >= 0 and arb > 0.0:
                on_value, _, _, _, _ = stake_term(graph, k, arb, low, high, x)
                off_value, _, _, _, _ = stake_term(graph, k, 0.0, low, high, x)
                earned[k, side] = on_value - off_value
        if e >= 0:
            held = graph.stake_held.copy()
            value, y, _, _, _ = stake_term(
                graph, k, swap, np.zeros(stakes), np.full(stakes, inf), x
            )
            still, _, _, _, _ = stake_term(graph, k, swap, held, held, x)
            moved[e, 0 if y < held[e] else 1] = value - still
    return earned, moved


@compiled
def cost_of(graph: Graph, gas: Gas, edge: States, stake: States) -> float:
    """Gas of a plan that uses just the items that are IN; 0 for none."""
    anything = False
    for k in range(edge.shape[0]):
        anything = anything or edge[k, 0] == IN or edge[k, 1] == IN
    for e in range(stake.shape[0]):
        anything = anything or stake[e, 0] == IN or stake[e, 1] == IN
    if not anything:
        return 0.0
    _, _, _, _, _, paid = charges(graph, gas, edge, stake)
    return paid


@compiled
def solve_support(graph: Graph, gas: Gas, edge: States, stake: States, x: Floats) -> float:
    """The most that a plan over the items IN is worth, gas paid; unused ones become OUT.

    ``x`` becomes its prices. No item may be OPEN.
    """
    charge, _, _, low, high, _ = charges(graph, gas, edge, stake)
    value, _, _ = minimise(graph, charge, low, high, 0.0, x)
    sides, inputs, outputs, burns = trades_at(graph, charge, low, high, x)
    for k in range(edge.shape[0]):
        for side in range(2):
            if edge[k, side] == IN and not (sides[k] == side and inputs[k] > DUST):
                edge[k, side] = OUT
    for e in range(stake.shape[0]):
        moved = burns[e] * graph.stake_unit[e]
        if not moved > DUST:
            stake[e, 0] = OUT
        if not moved < -DUST:
            stake[e, 1] = OUT
    repair(graph, sides, inputs, outputs, burns)
    worth, _, _, overdrawn = worth_of(graph, sides, inputs, outputs, burns)
    if overdrawn > DUST:
        return -inf
    return min(value, worth) - cost_of(graph, gas, edge, stake)


@compiled
def improve(graph: Graph, gas: Gas, edge: States, stake: States, x: Floats, tries: int) -> float:
    """Drop from and add to a support, in place, one item at a time while it gets better.

    At the support's own prices an item earns at most what dropping it loses, and at least what
    adding it gains: only those are tried whose gas says that they might pay.
    """
    best = solve_support(graph, gas, edge, stake, x)
    pools, stakes = edge.shape[0], stake.shape[0]
    size = 2 * pools + 2 * stakes
    failed = np.zeros(size, dtype=np.bool_)
    low, high = np.zeros(stakes), np.full(stakes, inf)
    while tries > 0:
        for e in range(stakes):
            low[e] = 0.0 if stake[e, 0] == IN else graph.stake_held[e]
            high[e] = inf if stake[e, 1] == IN else graph.stake_held[e]
        earned, moved = earnings(graph, low, high, x)
        whole = cost_of(graph, gas, edge, stake)
        uses, sells = users(graph, edge, stake)
        chosen, most = -1, 0.0
        for item in range(size):
            if failed[item]:
                continue
            if item < edge.size:
                if earned[item // 2, item % 2] <= 0.0:
                    continue
                k, side = item // 2, item % 2
                a, b = graph.token[k, side], graph.token[k, 1 - side]
                mine = 1 if edge[k, side] == IN else 0
                cost = gas.swap[k]
                cost += gas.touch[a] if uses[a] == mine else 0.0
                cost += gas.touch[b] if uses[b] == mine else 0.0
                cost += gas.approval[a] if sells[a] == mine else 0.0
                other = whole - cost if mine else whole + cost
            else:
                flip(edge, stake, item)
                other = cost_of(graph, gas, edge, stake)
                flip(edge, stake, item)
            gain = (
                earned[item // 2, item % 2]
                if item < 2 * pools
                else (moved[(item - 2 * pools) // 2, item % 2])
            )
            is_in = state(edge, stake, item) == IN
            surplus = whole - other - gain if is_in else gain - (other - whole)
            if surplus > most and (is_in or gain > 0.0):
                chosen, most = item, surplus
        if chosen < 0:
            break
        tries -= 1
        edge_tried, stake_tried, x_tried = edge.copy(), stake.copy(), x.copy()
        flip(edge_tried, stake_tried, chosen)
        value = solve_support(graph, gas, edge_tried, stake_tried, x_tried)
        if value > best:
            best = value
            edge[:, :] = edge_tried
            stake[:, :] = stake_tried
            x[:] = x_tried
            failed[:] = False
        else:
            failed[chosen] = True
    return best


@compiled
def users(graph: Graph, edge: States, stake: States) -> tuple[Floats, Floats]:
    """How many items that are IN touch each token, and how many sell it."""
    uses, sells = np.zeros(graph.held.size), np.zeros(graph.held.size)
    for k in range(edge.shape[0]):
        e = graph.stake_of[k]
        for side in range(2):
            a, b = graph.token[k, side], graph.token[k, 1 - side]
            if edge[k, side] == IN:
                uses[a] += 1.0
                uses[b] += 1.0
                sells[a] += 1.0
            if e >= 0 and stake[e, side] == IN:
                uses[a] += 1.0
                uses[b] += 1.0
            if e >= 0 and stake[e, 1] == IN:
                sells[a] += 1.0
    return uses, sells


@compiled
def state(edge: States, stake: States, item: int) -> int:
    """State of an item by its number: pools' directions first, then stakes'."""
    if item < edge.size:
        return int(edge[item // 2, item % 2])
    return int(stake[(item - edge.size) // 2, item % 2])


@compiled
def flip(edge: States, stake: States, item: int) -> None:
    """IN becomes OUT and OUT becomes IN."""
    if item < edge.size:
        edge[item // 2, item % 2] *= -1
    else:
        stake[(item - edge.size) // 2, item % 2] *= -1


@compiled
def pick(
    graph: Graph, gas: Gas, edge: States, stake: States, x: Floats, mu: float
) -> tuple[int, States, States]:
    """The item to branch on, -1 for none, and the support that the prices ``x`` suggest.

    Branches where both ways are worth most: IN adds to what the bound has charged for the item, OUT
    loses up to what it earns beyond its own charge; the lesser of the two counts.
    """
    charge, touch, approval, low, high, _ = charges(graph, gas, edge, stake)
    earned, moved = earnings(graph, low, high, x)
    whole, _ = spread(graph, gas, edge, charge, touch, approval, earned)
    support, moving = np.full_like(edge, OUT), np.full_like(stake, OUT)
    chosen, most = -1, 0.0
    for k in range(edge.shape[0]):
        e = graph.stake_of[k]
        for side in range(2):
            a, b = graph.token[k, side], graph.token[k, 1 - side]
            if e >= 0 and moved[e, side] > 0.0 and stake[e, side] != OUT:
                # ``side`` stands for burn and mint here.
                moving[e, side] = IN
                missing = gas.stake[e, side] + touch[a] + touch[b]
                if side == 1:
                    missing += approval[a] + approval[b]
                if stake[e, side] == OPEN and missing > most:
                    chosen, most = edge.size + 2 * e + side, missing
            if edge[k, side] == OUT or earned[k, side] <= 0.0:
                continue
            over = earned[k, side] - whole[k, side]
            if edge[k, side] == IN or over > -0.5 * mu:
                support[k, side] = IN
            if edge[k, side] == OPEN and over > -mu:
                used = min(max(over / mu, 0.0), 1.0) if mu > 0.0 else 1.0
                full = charge[k, side] + touch[a] + touch[b] + approval[a]
                over = max(earned[k, side] - charge[k, side], 0.0)
                missing = min(full - used * whole[k, side], over)
                if missing > most:
                    chosen, most = 2 * k + side, missing
    if chosen < 0:
        for k in range(edge.shape[0]):
            for side in range(2):
                if edge[k, side] == OPEN and earned[k, side] > most:
                    chosen, most = 2 * k + side, earned[k, side]
    return chosen, support, moving
