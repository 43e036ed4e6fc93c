"""Gas makes using a pool a yes or no: branch and bound over the pools, and what remains open."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from rebalancer.planner.optimal import search
from rebalancer.planner.optimal.graph import Floats, Graph, lay_out
from rebalancer.planner.optimal.relaxation import (
    Trades,
    best_trades,
    first_prices,
    nothing,
    worth,
)
from rebalancer.planner.optimal.rest import at_rest
from rebalancer.planner.optimal.search import IN, OPEN, OUT, Gas, States
from rebalancer.planner.optimal.statement import Statement

#: The width over which a bound is rounded off, as a share of the middling charge.
_SMOOTH = 0.05
#: How many changes of a support are tried, at the root and at every other node.
_ROOT_TRIES, _NODE_TRIES = 200, 2


@dataclass(frozen=True, slots=True)
class Limits:
    """When to stop: at this gap, after so many nodes, or when ``clock()`` reaches ``until``.

    Without a clock the answer depends on the problem alone.
    """

    gap_e8: int = 100_000
    nodes: int = 2_000
    clock: Callable[[], float] | None = None
    until: float = 0.0

    def reached(self, nodes: int) -> bool:
        """Whether the work has to stop for its length."""
        return nodes >= self.nodes or self.late()

    def late(self) -> bool:
        """Whether the clock says so."""
        return self.clock is not None and self.clock() >= self.until


@dataclass(slots=True)
class Node:
    """A part of all plans: those within the decisions on the way to it.

    Either split by ``item`` in two, or a leaf that ``prices`` bound.
    """

    prices: Floats
    upper: float
    item: int = -1
    used: Node | None = None
    unused: Node | None = None


@dataclass(frozen=True, slots=True)
class Support:
    """Pools and stakes to use, as IN and OUT, their prices, and what the plan is worth net."""

    edge: States
    stake: States
    prices: Floats
    value: float


@dataclass(frozen=True, slots=True)
class Answer:
    """The best plan found, and how much better another can be; values in shares of NAV.

    ``supports`` are all good supports met, the best first: the integers of one may not be
    executable. None of them is worth less than ``hold``; empty for a hold. ``upper`` bounds every
    plan, holding included.
    """

    graph: Graph
    gas: Gas
    hold: float
    upper: float
    supports: tuple[Support, ...]
    root: Node
    nodes: int

    @property
    def value(self) -> float:
        """What the best found is worth, holding included."""
        return self.supports[0].value if self.supports else self.hold

    @property
    def gap(self) -> float:
        """What can be missing at most, in shares of NAV."""
        return max(self.upper - self.value, 0.0)

    def trades(self, support: Support) -> Trades:
        """The trades of a support, in shares of NAV."""
        charge, _, _, low, high, _ = search.charges(
            self.graph, self.gas, support.edge, support.stake
        )
        return best_trades(self.graph, charge, low, high, support.prices)


def gas_of(made: Statement) -> Gas:
    """The gas of a statement as shares of NAV, at the least that a plan can pay.

    Where an intermediate is between two pools the one may pay straight into the other: that saves
    ``chained_saving_e8`` per two pools and the approval, so each pool is charged half of it less.
    """
    between = {a.key for a in made.assets if a.target_ppm is None}
    swap = [
        max(p.swap_e8 - made.chained_saving_e8 * len({p.asset0, p.asset1} & between) / 2, 0.0)
        for p in made.pools
    ]
    approval = [0 if a.key in between else a.approval_e8 for a in made.assets]
    around = [
        [k for k, p in enumerate(made.pools) if a.key in (p.asset0, p.asset1)] for a in made.assets
    ]
    return Gas(
        base=made.base_e8 / made.nav_e8,
        swap=np.array(swap, dtype=np.float64) / made.nav_e8,
        touch=np.array([a.touch_e8 for a in made.assets], dtype=np.float64) / made.nav_e8,
        approval=np.array(approval, dtype=np.float64) / made.nav_e8,
        stake=np.array([[s.burn_e8, s.mint_e8] for s in made.stakes], dtype=np.float64).reshape(
            -1, 2
        )
        / made.nav_e8,
        start=np.cumsum([0, *(len(pools) for pools in around)]).astype(np.int64),
        around=np.array([k for pools in around for k in pools], dtype=np.int64),
    )


def solve(made: Statement, limits: Limits | None = None) -> Answer:
    """The best plan of ``made`` with gas; the gap that ``limits`` leave open is in the answer.

    First asks whether doing nothing is optimal, which mostly it is. Best bound first; equal ones in
    the order they were met, so the same statement gives the same answer.
    """
    return _Search.of(made, Limits() if limits is None else limits).run()


@dataclass(slots=True)
class _Search:
    graph: Graph
    gas: Gas
    limits: Limits
    tolerance: float
    hold: float
    mu: float
    supports: list[Support] = field(default_factory=list)
    seen: set[bytes] = field(default_factory=set)
    nodes: int = 1

    @classmethod
    def of(cls, made: Statement, limits: Limits) -> _Search:
        graph, gas = lay_out(made), gas_of(made)
        charged = gas.swap[gas.swap > 0]
        return cls(
            graph=graph,
            gas=gas,
            limits=limits,
            tolerance=limits.gap_e8 / made.nav_e8,
            hold=worth(graph, nothing(graph)).value,
            mu=_SMOOTH * float(np.median(charged)) if charged.size else 0.0,
        )

    @property
    def best(self) -> float:
        return max([self.hold, *(s.value for s in self.supports[:1])])

    def run(self) -> Answer:
        pools, stakes = self.graph.gamma.size, self.graph.stake_held.size
        edge = np.full((pools, 2), OPEN, dtype=np.int8)
        stake = np.full((stakes, 2), OPEN, dtype=np.int8)
        charge, _, _, low, high, paid = search.charges(self.graph, self.gas, edge, stake)
        rest = at_rest(self.graph, charge, low, high)
        root = Node(rest.prices, rest.upper - paid)
        if root.upper <= self.hold + 1e-15:
            return self._answer(root, self.hold)
        root.prices = first_prices(self.graph)
        root.upper = self._bound(edge, stake, root.prices)
        if rest.upper - paid < root.upper:
            root.prices, root.upper = rest.prices, rest.upper - paid
        self._try_relaxed()
        open_nodes = [(-root.upper, 0, root, edge, stake)]
        closed = -np.inf
        while open_nodes and not self.limits.reached(self.nodes):
            upper, _, node, edge, stake = heapq.heappop(open_nodes)
            if -upper <= self.best + self.tolerance:
                heapq.heappush(open_nodes, (upper, -1, node, edge, stake))
                break
            item, support, moving = search.pick(
                self.graph, self.gas, edge, stake, node.prices, self.mu
            )
            self._try(support, moving, node.prices, _NODE_TRIES if self.nodes > 1 else _ROOT_TRIES)
            if item < 0:
                closed = max(closed, node.upper)
                continue
            node.item = item
            for state in (IN, OUT):
                child_edge, child_stake = edge.copy(), stake.copy()
                target = child_edge if item < edge.size else child_stake
                index = item if item < edge.size else item - edge.size
                target[index // 2, index % 2] = state
                prices = node.prices.copy()
                child = Node(prices, self._bound(child_edge, child_stake, prices))
                if state == IN:
                    node.used = child
                else:
                    node.unused = child
                self.nodes += 1
                entry = (-child.upper, self.nodes, child, child_edge, child_stake)
                heapq.heappush(open_nodes, entry)
        top = max([closed, *(-entry[0] for entry in open_nodes[:1])])
        return self._answer(root, top)

    def _answer(self, root: Node, upper: float) -> Answer:
        found = tuple(s for s in self.supports if s.value > self.hold)
        upper = max(upper, self.hold)
        return Answer(self.graph, self.gas, self.hold, upper, found, root, self.nodes)

    def _bound(self, edge: States, stake: States, prices: Floats) -> float:
        cutoff = self.best + self.tolerance
        return search.bound(self.graph, self.gas, edge, stake, prices, self.mu, cutoff)

    def _try_relaxed(self) -> None:
        """The support of the relaxation without gas, and what becomes of it by dropping."""
        prices = first_prices(self.graph)
        pools, stakes = self.graph.gamma.size, self.graph.stake_held.size
        everything = np.full((pools, 2), IN, dtype=np.int8)
        self._try(everything, np.full((stakes, 2), IN, dtype=np.int8), prices, _ROOT_TRIES)

    def _try(self, edge: States, stake: States, prices: Floats, tries: int) -> None:
        """Make the best of a support and remember it."""
        start = edge.tobytes() + stake.tobytes()
        if start in self.seen:
            return
        self.seen.add(start)
        edge, stake, prices = edge.copy(), stake.copy(), prices.copy()
        value = search.improve(self.graph, self.gas, edge, stake, prices, tries)
        end = edge.tobytes() + stake.tobytes()
        if end != start and end in self.seen:
            return
        self.seen.add(end)
        if not (edge == IN).any() and not (stake == IN).any():
            return
        self.supports.append(Support(edge, stake, prices, value))
        self.supports.sort(key=lambda s: -s.value)
        del self.supports[8:]
