"""Gas in the search: what the plans of a node cannot avoid, and what one plan really costs.

An *item* is a choice: a direction of a pool, ``edge[k, side]`` with ``side`` what is sold; a move
of a stake, ``stake[e, 0]`` to burn and ``stake[e, 1]`` to mint; ``sale[i, 0]`` to have less of an
asset in the end than before. Each is OUT, OPEN or IN. All costs are shares of NAV.
"""

from __future__ import annotations

from math import inf
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rebalancer.planner.optimal.case import Case
from rebalancer.planner.optimal.compiled import compiled
from rebalancer.planner.optimal.graph import Floats, Graph, Ints
from rebalancer.planner.optimal.statement import Statement

OUT, OPEN, IN = -1, 0, 1

States = npt.NDArray[np.int8]
_ALL = slice(None)


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
    """What touching each token, and selling it, costs whoever does so first.

    ``fee`` is the approval that is not due for sure.
    """

    touch: Floats  # (n,)
    approval: Floats  # (n,)
    fee: Floats  # (n,)


class Choices(NamedTuple):
    """The state of every item."""

    edge: States  # (K, 2)
    stake: States  # (L, 2)
    sale: States  # (n, 1)


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


def charges(
    graph: Graph, gas: Gas, choices: Choices, *, fed: bool = False
) -> tuple[Case, Unpaid, float]:
    """What is charged at a node, what no item IN has paid yet, and what all plans pay.

    Items that are IN pay in full, together, once: the last number returned. An OPEN direction is
    charged its swap, an OPEN stake nothing, which is no more than it costs. An approval is due
    where an asset is sold net, minted from, or sold to more pools than can have been ``fed`` by
    others: the fee of selling it net. As the search sees it, where a position is sold to any pool:
    unpaid then by all of these.
    """
    edge, stake, sale = choices
    uses, sells, _ = users(graph, gas, choices)
    feeds = _count(graph, graph.token[:, ::-1][edge != OUT])
    minted = _count(graph, graph.token[gas.pool_of[stake[:, 1] == IN]].ravel()) > 0
    fed_by = np.where(fed | (graph.stiff == 0.0), feeds, 0.0)
    due = (sells > fed_by) | minted | (sale[:, 0] == IN)
    paid = gas.base + gas.swap[edge == IN].sum() + gas.stake[stake == IN].sum()
    paid += gas.touch[uses > 0].sum() + gas.approval[due].sum()
    charge = np.where(edge == OUT, inf, np.where(edge == IN, 0.0, gas.swap))
    low = np.where(stake[:, 0] == OUT, graph.stake_held, 0.0)
    high = np.where(stake[:, 1] == OUT, graph.stake_held, inf)
    unpaid = np.where(due, 0.0, gas.approval)
    fee = unpaid.copy() if fed else np.zeros_like(unpaid)
    fee[(graph.stiff > 0) & ((sale[:, 0] == OUT) | (graph.least_sold > graph.held))] = inf
    fee[sale[:, 0] == IN] = -1.0
    touch = np.where(uses > 0, 0.0, gas.touch)
    selling = np.where(fed | (graph.stiff == 0.0), 0.0, unpaid)
    return Case(charge, low, high, fee, graph.most), Unpaid(touch, selling, unpaid), float(paid)


def users(graph: Graph, gas: Gas, choices: Choices) -> tuple[Floats, Floats, Floats]:
    """How many items that are IN touch each token, sell it to a pool, and have a pool pay it.

    A move of a stake counts twice as a sale and as a payment: it feeds no leg and none feeds it.
    """
    used = choices.edge == IN
    sells = _count(graph, graph.token[used])
    feeds = _count(graph, graph.token[:, ::-1][used])
    if not (choices.stake == IN).any():
        return sells + feeds, sells, feeds
    burned = _count(graph, graph.token[gas.pool_of[choices.stake[:, 0] == IN]].ravel())
    minted = _count(graph, graph.token[gas.pool_of[choices.stake[:, 1] == IN]].ravel())
    uses = sells + feeds + burned + minted
    return uses, sells + 2 * minted, feeds + 2 * (burned + minted)


def _count(graph: Graph, tokens: Ints) -> Floats:
    return np.bincount(tokens, minlength=graph.held.size).astype(np.float64)


def sale_costs(
    graph: Graph, gas: Gas, sells: Floats, feeds: Floats, at: Ints | slice = _ALL
) -> Floats:
    """What selling the assets ``at`` to so many pools costs, so many others paying them.

    An approval; less than nothing for an intermediate of which one pool feeds another.
    """
    fed = (graph.stiff[at] == 0.0) & (sells == 1) & (feeds == 1)
    return np.where(fed, -gas.chained, np.where(sells > 0, gas.approval[at], 0.0))


def cost_of(graph: Graph, gas: Gas, choices: Choices) -> float:
    """Gas of a plan that uses just the items that are IN; 0 for none."""
    uses, sells, feeds = users(graph, gas, choices)
    if not uses.any():
        return 0.0
    cost = gas.touch[uses > 0].sum() + sale_costs(graph, gas, sells, feeds).sum()
    cost += gas.full[(choices.edge == IN).any(axis=1)].sum()
    return float(gas.base + cost + gas.stake[choices.stake == IN].sum())


def of_support(graph: Graph, gas: Gas, choices: Choices) -> Case:
    """What the items that are IN allow, their gas apart: it is paid whatever they do."""
    edge, stake, sale = choices
    fee = np.zeros(graph.held.size)
    fee[(sale[:, 0] == OUT) | (graph.least_sold > graph.held)] = inf
    fee[sale[:, 0] == IN] = -1.0
    fee[graph.stiff == 0.0] = 0.0
    return Case(
        charge=np.where(edge == IN, 0.0, inf),
        low=np.where(stake[:, 0] == OUT, graph.stake_held, 0.0),
        high=np.where(stake[:, 1] == OUT, graph.stake_held, inf),
        fee=fee,
        top=graph.most,
    )


def copied(choices: Choices) -> Choices:
    """Another set of choices, to change."""
    return Choices(*(states.copy() for states in choices))


def place(choices: Choices, item: int) -> tuple[States, tuple[int, int]]:
    """Where the state of an item is: pools' directions first, then stakes', then sales'."""
    for states in choices:
        if item < states.size:
            return states, divmod(item, states.shape[1])
        item -= states.size
    raise IndexError(item)


@compiled
def spread(
    graph: Graph, gas: Gas, edge: States, charge: Floats, unpaid: Unpaid, earned: Floats
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
    for turn in range(2 * graph.held.size):
        selling, i = turn // graph.held.size, turn % graph.held.size
        cost = unpaid.approval[i] if selling else unpaid.touch[i]
        if cost == 0.0:
            continue
        there, payers = 0.0, 0.0
        for at in range(gas.start[i], gas.start[i + 1]):
            k = gas.around[at]
            for side in range(2):
                if edge[k, side] == OPEN and (selling == 0 or graph.token[k, side] == i):
                    there += left[k, side]
                    payers += 1.0
        if payers == 0.0:
            continue
        part = min(1.0, cost / there) if there > 0.0 else 0.0
        taken += part * there
        rest = (cost - part * there) / payers
        for at in range(gas.start[i], gas.start[i + 1]):
            k = gas.around[at]
            for side in range(2):
                if edge[k, side] == OPEN and (selling == 0 or graph.token[k, side] == i):
                    whole[k, side] += part * left[k, side] + rest
                    left[k, side] -= part * left[k, side]
    return whole, taken
