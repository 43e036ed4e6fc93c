"""What branch and bound does at a node: the bound, what is earned there, and where to branch."""

from __future__ import annotations

from math import inf
from typing import NamedTuple

import numpy as np

from rebalancer.planner.optimal.case import Best, Case, empty
from rebalancer.planner.optimal.charging import IN, OPEN, OUT, Choices, Gas, Unpaid, charges
from rebalancer.planner.optimal.compiled import compiled, inner
from rebalancer.planner.optimal.dual import evaluate
from rebalancer.planner.optimal.graph import Floats, Graph
from rebalancer.planner.optimal.newton import minimise
from rebalancer.planner.optimal.through import fed

#: Newton steps that prices are sought with: further ones prove next to nothing.
_STEPS = 8
#: An approval is decided last, as deciding pools mostly decides it: what it adds counts this part.
_LATE = 0.02
#: The part of the greater of an item's two effects that counts.
_GREATER = 0.3


class Shared(NamedTuple):
    """The tokens' costs shared out: see ``share``."""

    whole: Floats  # (K, 2), what each direction is charged
    taken: float  # all that was taken
    lost: Floats  # (K, 2), what each OPEN direction loses by being fed
    due: Floats  # (n,), what selling each asset from the wallet still costs
    paid: Floats  # (n,), what was taken instead


@compiled
def bound(
    graph: Graph, gas: Gas, choices: Choices, x: Floats, mu: float, cutoff: float, turns: int
) -> float:
    """The least upper bound found on what any plan of a node is worth; its prices go into ``x``.

    Every prices bound it; those that minimise the dual with the tokens' costs shared as ``share``
    shares them do it well, so share and minimise in turn. Stops where the bound reaches ``cutoff``.
    """
    case, unpaid, paid = charges(graph, gas, choices)
    if paid == inf:
        return -inf
    best, tried, least = empty(graph), x.copy(), inf
    charge = case.charge
    for turn in range(2 * turns + 1):
        # At the prices themselves, and then in turn to better ones: one call, compiled once.
        seeks = turn % 2 == 1
        asked = Case(
            charge if seeks else case.charge, case.low, case.high, case.fee, case.least, case.top
        )
        exact, _, _ = minimise(
            graph, asked, mu if seeks else 0.0, tried, best, _STEPS if seeks else 0
        )
        if seeks:
            continue
        shared = share(graph, gas, choices, case, unpaid, by_side(best), best.sale, tried)
        upper = exact - shared.taken - paid
        if upper < least:
            least = upper
            x[:] = tried
        if least <= cutoff:
            break
        charge = shared.whole
    return least


@inner
def by_side(best: Best) -> Floats:
    """What each direction of each pool earns before gas, (K, 2)."""
    earned = np.zeros((best.swap.shape[0], 2))
    for k in range(best.swap.shape[0]):
        earned[k, int(best.swap[k, 0])] = best.swap[k, 1]
    return earned


@inner
def share(
    graph: Graph,
    gas: Gas,
    choices: Choices,
    case: Case,
    unpaid: Unpaid,
    earned: Floats,
    sale: Floats,
    x: Floats,
) -> Shared:
    """Charge the unpaid tokens to the pools that would use them, where there is most to take.

    A plan that uses a pool pays for its tokens; however a token's cost is shared among its pools,
    no plan is charged more than it pays. Here each cost in turn, first all touches and then all
    approvals, takes from what its OPEN pools still earn beyond their charges, from all in
    proportion, until it is covered; of an approval each no more than it loses by being ``fed``.
    What cannot be covered is shared equally.
    """
    n, edge = graph.held.size, choices.edge
    left, whole, taken = np.zeros(edge.shape), case.charge.copy(), 0.0
    for k in range(edge.shape[0]):
        for side in range(2):
            if edge[k, side] == OPEN:
                left[k, side] = max(earned[k, side] - whole[k, side], 0.0)
    most = np.full(edge.shape, inf)
    for i in range(n):
        if unpaid.touch[i] > 0.0:
            taken += _take(graph, gas, choices, i, False, unpaid.touch[i], most, left, whole)
    # What is fed costs by what is touched alone.
    before, counted, lost = whole.copy(), left.copy(), np.zeros(edge.shape)
    due, paid = np.zeros(n), np.zeros(n)
    for i in range(n):
        if unpaid.approval[i] == 0.0:
            continue
        # Sold net after all, it is worth the less by so much, its approval paid.
        due[i] = max(min(unpaid.approval[i], -sale[i]), 0.0)
        if due[i] == 0.0:
            continue
        sure = fed(graph, gas, choices, case, unpaid.approval, i, before, earned, counted, x, lost)
        paid[i] = min(sure, due[i])
        if sure < due[i]:
            paid[i] += _take(graph, gas, choices, i, True, due[i] - sure, lost, left, whole)
        taken += paid[i]
    return Shared(whole, taken, lost, due, paid)


@inner
def _take(
    graph: Graph,
    gas: Gas,
    choices: Choices,
    i: int,
    selling: bool,
    cost: float,
    most: Floats,
    left: Floats,
    whole: Floats,
) -> float:
    """Charge a cost of token ``i`` to the OPEN directions of its pools, each ``most`` of it."""
    there, payers = 0.0, 0.0
    for at in range(gas.start[i], gas.start[i + 1]):
        k = gas.around[at]
        for side in range(2):
            if choices.edge[k, side] == OPEN and not (selling and graph.token[k, side] != i):
                there += min(left[k, side], most[k, side])
                payers += 1.0
    if payers == 0.0:
        return 0.0
    part = min(1.0, cost / there) if there > 0.0 else 0.0
    rest = (cost - part * there) / payers
    for at in range(gas.start[i], gas.start[i + 1]):
        k = gas.around[at]
        for side in range(2):
            if choices.edge[k, side] == OPEN and not (selling and graph.token[k, side] != i):
                here = part * min(left[k, side], most[k, side])
                whole[k, side] += here + min(rest, most[k, side] - here)
                left[k, side] -= here
    return part * there


@compiled
def earnings(graph: Graph, case: Case, x: Floats) -> tuple[Floats, Floats]:
    """What each direction of each pool, and each stake, earns at prices ``x`` before gas."""
    best = empty(graph)
    evaluate(graph, case, 0.0, x, best, np.empty(x.size), np.empty((0, 0)))
    return by_side(best), best.moved


@compiled
def pick(graph: Graph, gas: Gas, choices: Choices, x: Floats, mu: float) -> tuple[int, Choices]:
    """The item to branch on, -1 for none, and the support that the prices ``x`` suggest.

    Branches where both ways are worth most: IN adds to what the bound has charged for the item, OUT
    loses up to what it earns beyond its own charge; the lesser of the two counts, and a part of the
    greater.
    """
    edge, stake, sale = choices.edge, choices.stake, choices.sale
    case, unpaid, _ = charges(graph, gas, choices)
    best = empty(graph)
    evaluate(graph, case, 0.0, x, best, np.empty(x.size), np.empty((0, 0)))
    earned = by_side(best)
    shared = share(graph, gas, choices, case, unpaid, earned, best.sale, x)
    support = Choices(
        np.full_like(edge, OUT), np.full_like(stake, OUT), sale.copy(), np.full_like(sale, OPEN)
    )
    edges, stakes = edge.size, stake.size
    score = np.zeros(edges + stakes + 2 * sale.size)
    for k in range(edge.shape[0]):
        for side in range(2):
            if earned[k, side] <= 0.0 or edge[k, side] == OUT:
                continue
            over = earned[k, side] - shared.whole[k, side]
            if edge[k, side] == IN or over > -0.5 * mu:
                support.edge[k, side] = IN
            if edge[k, side] != OPEN or over <= -mu:
                continue
            a, b = graph.token[k, side], graph.token[k, 1 - side]
            used = min(max(over / mu, 0.0), 1.0) if mu > 0.0 else 1.0
            added = case.charge[k, side] - used * shared.whole[k, side]
            added += unpaid.touch[a] + unpaid.touch[b] + min(shared.due[a], shared.lost[k, side])
            beyond = max(earned[k, side] - case.charge[k, side], 0.0)
            less, more = min(added, beyond), max(added, beyond)
            score[2 * k + side] = less + _GREATER * more if less > 0.0 else 0.0
    for e in range(stake.shape[0]):
        for move in range(2):
            if best.moved[e, move] <= 0.0 or stake[e, move] == OUT:
                continue
            support.stake[e, move] = IN
            if stake[e, move] == OPEN:
                cost = gas.stake[e, move]
                for side in range(2):
                    i = graph.token[gas.pool_of[e], side]
                    cost += unpaid.touch[i] + move * min(unpaid.approval[i], gas.approval[i])
                score[edges + 2 * e + move] = cost
    for i in range(sale.size):
        fee, least = case.fee[i], case.least[i]
        if mu > 0.0 and least > 0.0 and 0.0 <= fee < inf and abs(best.sale[i]) < mu:
            used = min(max(best.sale[i] / mu, 0.0), 1.0)
            score[edges + stakes + i] = 0.01 * (least * min(used, 1.0 - used) + mu)
        if choices.approval[i, 0] == OPEN and shared.paid[i] > 0.0:
            score[edges + stakes + sale.size + i] = _LATE * (unpaid.approval[i] - shared.paid[i])
    item = int(score.argmax())
    if score[item] > 0.0:
        return item, support
    for k in range(edge.shape[0]):
        for side in range(2):
            if edge[k, side] == OPEN:
                score[2 * k + side] = earned[k, side]
    item = int(score.argmax())
    return item if score[item] > 0.0 else -1, support
