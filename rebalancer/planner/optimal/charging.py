"""Gas in the search: what the plans of a node cannot avoid, and what one plan really costs.

An *item* is a choice: a direction of a pool, ``edge[k, side]`` with ``side`` what is sold; a move
of a stake, ``stake[e, 0]`` to burn and ``stake[e, 1]`` to mint; ``sale[i, 0]`` to have less of an
asset in the end than before; ``approval[i, 0]`` to pay for selling it from the wallet. Each is OUT,
OPEN or IN. All costs are shares of NAV.
"""

from __future__ import annotations

from math import inf
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rebalancer.planner.optimal.case import Case
from rebalancer.planner.optimal.compiled import compiled, inner
from rebalancer.planner.optimal.graph import Floats, Graph, Ints
from rebalancer.planner.optimal.statement import Statement

OUT, OPEN, IN = -1, 0, 1

States = npt.NDArray[np.int8]


class Gas(NamedTuple):
    """Gas as shares of NAV.

    ``swap`` is the least that a direction can cost: each leg that feeds another saves
    ``chained``, of which a share of ``links[i]`` is credited to the one that sells asset ``i`` and
    the rest to the one that buys it, so that no plan is credited less than it saves.
    """

    base: float
    full: Floats  # (K,)
    swap: Floats  # (K, 2)
    chained: float
    touch: Floats  # (n,)
    approval: Floats  # (n,)
    stake: Floats  # (L, 2)
    pool_of: Ints  # (L,)
    start: Ints  # (n + 1,), pools of token i are around[start[i]:start[i + 1]]
    around: Ints  # (2 K,)


class Unpaid(NamedTuple):
    """What touching each token, and selling it, costs whoever does so first; inf for never."""

    touch: Floats  # (n,)
    approval: Floats  # (n,)


class Choices(NamedTuple):
    """The state of every item."""

    edge: States  # (K, 2)
    stake: States  # (L, 2)
    sale: States  # (n, 1)
    approval: States  # (n, 1)


def gas_of(made: Statement, links: Floats) -> Gas:
    """The gas of a statement as shares of NAV.

    ``links`` says of each asset which share of what a chained leg saves is credited to the one that
    sells it there; the other share goes to the one that feeds it.
    """
    index = {a.key: i for i, a in enumerate(made.assets)}
    pools = [p.key for p in made.pools]
    nav, chained = made.nav_e8, made.chained_saving_e8 / made.nav_e8
    token = [(index[p.asset0], index[p.asset1]) for p in made.pools]
    around = [[k for k, pair in enumerate(token) if i in pair] for i in range(len(made.assets))]
    full = np.array([p.swap_e8 for p in made.pools], dtype=np.float64) / nav
    saved = [[links[a] + 1 - links[b], links[b] + 1 - links[a]] for a, b in token]
    stake = np.array([[s.burn_e8, s.mint_e8] for s in made.stakes], dtype=np.float64)
    return Gas(
        base=made.base_e8 / nav,
        full=full,
        swap=full[:, None] - chained * np.array(saved, dtype=np.float64).reshape(-1, 2),
        chained=chained,
        touch=np.array([a.touch_e8 for a in made.assets], dtype=np.float64) / nav,
        approval=np.array([a.approval_e8 for a in made.assets], dtype=np.float64) / nav,
        stake=stake.reshape(-1, 2) / nav,
        pool_of=np.array([pools.index(s.pool) for s in made.stakes], dtype=np.int64),
        start=np.cumsum([0, *(len(row) for row in around)]).astype(np.int64),
        around=np.array([k for row in around for k in row], dtype=np.int64),
    )


@compiled
def charges(graph: Graph, gas: Gas, choices: Choices) -> tuple[Case, Unpaid, float]:
    """What is charged at a node, what no item IN has paid yet, and what all plans pay.

    Items that are IN pay in full, together, once: the last number returned, inf where they cannot
    all be. An OPEN direction is charged its swap, an OPEN stake nothing, which is no more than it
    costs. An approval is due where an asset is sold net, minted from, or sold to more pools than
    can be fed by others: the fee of selling it net.
    """
    n, pools, stakes = graph.held.size, graph.gamma.size, graph.stake_held.size
    edge, stake, sale = choices.edge, choices.stake, choices.sale
    uses, sells, feeds = np.zeros(n), np.zeros(n), np.zeros(n)
    charge, paid = np.empty((pools, 2)), gas.base
    for k in range(pools):
        for side in range(2):
            a, b, state = graph.token[k, side], graph.token[k, 1 - side], edge[k, side]
            charge[k, side] = inf if state == OUT else (0.0 if state == IN else gas.swap[k, side])
            if state != OUT:
                feeds[b] += 1.0
            if state == IN:
                paid += gas.swap[k, side]
                uses[a] += 1.0
                uses[b] += 1.0
                sells[a] += 1.0
    low, high = np.zeros(stakes), np.full(stakes, inf)
    for e in range(stakes):
        for move in range(2):
            if stake[e, move] == IN:
                paid += gas.stake[e, move]
                for side in range(2):
                    i = graph.token[gas.pool_of[e], side]
                    uses[i] += 1.0
                    if move == 1:
                        sells[i] = inf
        if stake[e, 0] == OUT:
            low[e] = graph.stake_held[e]
        if stake[e, 1] == OUT:
            high[e] = graph.stake_held[e]
    touch, approval, fee = np.zeros(n), np.zeros(n), np.zeros(n)
    for i in range(n):
        cost = inf if choices.approval[i, 0] == OUT else gas.approval[i]
        if sells[i] > feeds[i] or sale[i, 0] == IN or choices.approval[i, 0] == IN:
            paid += cost
        else:
            approval[i] = cost
        if uses[i] > 0.0:
            paid += gas.touch[i]
        else:
            touch[i] = gas.touch[i]
        fee[i] = approval[i]
        if graph.stiff[i] > 0.0 and (sale[i, 0] == OUT or graph.least_sold[i] > graph.held[i]):
            fee[i] = inf
        if sale[i, 0] == IN:
            fee[i] = -1.0
    return Case(charge, low, high, fee, graph.least_sold, graph.most), Unpaid(touch, approval), paid


@compiled
def users(graph: Graph, gas: Gas, choices: Choices) -> tuple[Floats, Floats, Floats]:
    """How many items that are IN touch each token, sell it to a pool, and have a pool pay it.

    A move of a stake counts twice as a sale and as a payment: it feeds no leg and none feeds it.
    """
    uses, sells, feeds = (
        np.zeros(graph.held.size),
        np.zeros(graph.held.size),
        np.zeros(graph.held.size),
    )
    for k in range(graph.gamma.size):
        for side in range(2):
            if choices.edge[k, side] == IN:
                a, b = graph.token[k, side], graph.token[k, 1 - side]
                uses[a] += 1.0
                uses[b] += 1.0
                sells[a] += 1.0
                feeds[b] += 1.0
    for e in range(gas.pool_of.size):
        for side in range(2):
            i = graph.token[gas.pool_of[e], side]
            for move in range(2):
                if choices.stake[e, move] == IN:
                    uses[i] += 1.0
                    feeds[i] += 2.0
                    sells[i] += 2.0 * move
    return uses, sells, feeds


@inner
def sale_cost(graph: Graph, gas: Gas, i: int, sells: float, feeds: float) -> float:
    """What selling asset ``i`` to so many pools costs, so many others paying it.

    An approval; less than nothing for an intermediate of which one pool feeds another.
    """
    if graph.stiff[i] == 0.0 and sells == 1.0 and feeds == 1.0:
        return -gas.chained
    return gas.approval[i] if sells > 0.0 else 0.0


@compiled
def cost_of(graph: Graph, gas: Gas, choices: Choices) -> float:
    """Gas of a plan that uses just the items that are IN; 0 for none."""
    uses, sells, feeds = users(graph, gas, choices)
    if not uses.any():
        return 0.0
    cost = gas.base
    for i in range(graph.held.size):
        if uses[i] > 0.0:
            cost += gas.touch[i]
        cost += sale_cost(graph, gas, i, sells[i], feeds[i])
    for k in range(graph.gamma.size):
        if choices.edge[k, 0] == IN or choices.edge[k, 1] == IN:
            cost += gas.full[k]
    for e in range(gas.pool_of.size):
        for move in range(2):
            if choices.stake[e, move] == IN:
                cost += gas.stake[e, move]
    return cost


@compiled
def of_support(graph: Graph, gas: Gas, choices: Choices) -> Case:
    """What the items that are IN allow, their gas apart: it is paid whatever they do.

    What may be nothing or much has no slope between: an OPEN sale is as if it might be little.
    """
    n, pools, stakes = graph.held.size, graph.gamma.size, graph.stake_held.size
    charge, fee, least = np.full((pools, 2), inf), np.zeros(n), graph.least_sold.copy()
    low, high = graph.stake_held.copy(), graph.stake_held.copy()
    for k in range(pools):
        for side in range(2):
            if choices.edge[k, side] == IN:
                charge[k, side] = 0.0
    for e in range(stakes):
        if choices.stake[e, 0] != OUT:
            low[e] = 0.0
        if choices.stake[e, 1] != OUT:
            high[e] = inf
    for i in range(n):
        state = choices.sale[i, 0]
        if state == OPEN:
            least[i] = 0.0
        if graph.stiff[i] == 0.0:
            continue
        if state == IN:
            fee[i] = -1.0
        elif state == OUT or graph.least_sold[i] > graph.held[i]:
            fee[i] = inf
    return Case(charge, low, high, fee, least, graph.most)


def undecided(graph: Graph, state: int) -> Choices:
    """Every pool and stake in one state, every sale and approval open."""
    pools, stakes = graph.gamma.size, graph.stake_held.size
    return Choices(
        np.full((pools, 2), state, dtype=np.int8),
        np.full((stakes, 2), state, dtype=np.int8),
        np.full((graph.held.size, 1), OPEN, dtype=np.int8),
        np.full((graph.held.size, 1), OPEN, dtype=np.int8),
    )


@compiled
def copied(choices: Choices) -> Choices:
    """Another set of choices, to change."""
    return Choices(
        choices.edge.copy(), choices.stake.copy(), choices.sale.copy(), choices.approval.copy()
    )


def place(choices: Choices, item: int) -> tuple[States, tuple[int, int]]:
    """Where the state of an item is: pools' directions first, then stakes', then sales', then
    approvals'."""
    for states in choices:
        if item < states.size:
            return states, divmod(item, states.shape[1])
        item -= states.size
    raise IndexError(item)
