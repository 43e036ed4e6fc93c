"""The relaxed problem solved: gas left out, everything else exactly as ``statement`` says it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rebalancer.planner.optimal import newton, recover
from rebalancer.planner.optimal.case import Best, Case, empty
from rebalancer.planner.optimal.graph import Floats, Graph, Ints

#: A usual swap fee: a pool in line with the oracle lets prices differ by so much.
_NEAR = 0.003
#: Bounds that are further apart, in shares of NAV, have not met.
_WIDE = 1e-9


class Trades(NamedTuple):
    """One swap per pool and one move per stake, in shares of NAV.

    ``side`` is the token of the pool that is sold, ``amount_in`` 0 no swap; ``burn`` is the
    fraction of the pool that is burned, negative for minted. A swap happens on what a burn leaves
    of the pool, or on what a mint has made of it.
    """

    side: Ints  # (K,)
    amount_in: Floats  # (K,)
    amount_out: Floats  # (K,)
    burn: Floats  # (L,)


class Worth(NamedTuple):
    """What trades are worth without gas, and the holdings and stakes that they lead to.

    ``overdrawn`` is by how much the worst holding is below what it may be, at least 0.
    """

    value: float
    holdings: Floats  # (n,)
    stakes: Floats  # (L,)
    overdrawn: float


class Relaxed(NamedTuple):
    """The best trades if gas were free, between two bounds that meet.

    ``prices`` are the dual prices, first of the assets, then of the factors. ``upper`` bounds every
    plan, ``lower`` is what ``trades`` are worth, both in shares of NAV.
    """

    prices: Floats  # (n + m,)
    upper: float
    lower: float
    trades: Trades
    steps: int


def relax(graph: Graph, start: Floats | None = None) -> Relaxed:
    """Solve the relaxation; ``start`` are dual prices near the answer, if there are any."""
    case, best = free(graph), empty(graph)
    x = first_prices(graph) if start is None else start.copy()
    upper, steps, _ = newton.minimise(graph, case, 0.0, x, best, newton.MAX_STEPS)
    trades = trades_of(best)
    lower = worth(graph, trades).value
    if not upper - lower <= _WIDE:
        # Pools so deep that a price's rounding moves more than the portfolio: rather no trades.
        idle = nothing(graph)
        hold = worth(graph, idle).value
        if hold > lower:
            trades, lower = idle, hold
    return Relaxed(x, upper, lower, trades, steps)


def free(graph: Graph) -> Case:
    """Everything allowed, for nothing."""
    stakes = graph.stake_held.size
    return Case(
        charge=np.zeros((graph.gamma.size, 2)),
        low=np.zeros(stakes),
        high=np.full(stakes, np.inf),
        fee=np.zeros(graph.held.size),
        least=graph.least_sold.copy(),
        top=graph.most.copy(),
    )


def first_prices(graph: Graph) -> Floats:
    """Where to start: the resting prices, brought near the oracle's, where deep pools keep them."""
    x = newton.resting_prices(graph)
    n = graph.held.size
    np.minimum(np.maximum(x[:n], 1 - _NEAR), 1 + _NEAR, out=x[:n])
    return x


def best_trades(graph: Graph, case: Case, x: Floats) -> Trades:
    """The trades that earn most at the dual prices ``x``; what they overdraw is sold less."""
    best = empty(graph)
    newton.minimise(graph, case, 0.0, x, best, 0)
    trades = trades_of(best)
    worth(graph, trades)
    return trades


def trades_of(best: Best) -> Trades:
    """The swaps and moves that earn what they are charged."""
    side, _, amount_in, amount_out, used = best.swap.T
    return Trades((side * used).astype(np.int64), amount_in * used, amount_out * used, best.burn)


def worth(graph: Graph, trades: Trades) -> Worth:
    """Value of ``trades`` in shares of NAV: the objective of ``statement`` without gas.

    What they overdraw, by rounding of prices times deep pools, is sold less, in place.
    """
    return Worth(*recover.settle(graph, *trades))


def nothing(graph: Graph) -> Trades:
    """No trades at all."""
    pools = graph.gamma.size
    sides = np.zeros(pools, dtype=np.int64)
    return Trades(sides, np.zeros(pools), np.zeros(pools), np.zeros(graph.stake_held.size))
