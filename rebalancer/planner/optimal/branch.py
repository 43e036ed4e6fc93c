"""Gas makes using a pool a yes or no: branch and bound over the pools, and what remains open."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from rebalancer.planner.optimal.charging import (
    IN,
    OPEN,
    OUT,
    Choices,
    Gas,
    charges,
    copied,
    gas_of,
    of_support,
    place,
    undecided,
)
from rebalancer.planner.optimal.fed import Fed
from rebalancer.planner.optimal.feeding import feed
from rebalancer.planner.optimal.graph import Floats, Graph, lay_out
from rebalancer.planner.optimal.joint import joint, joint_prices
from rebalancer.planner.optimal.relaxation import (
    Trades,
    best_trades,
    first_prices,
    nothing,
    relax,
    worth,
)
from rebalancer.planner.optimal.rest import at_rest
from rebalancer.planner.optimal.search import bound, pick
from rebalancer.planner.optimal.statement import Statement
from rebalancer.planner.optimal.supports import improve
from rebalancer.planner.optimal.tree import Node, prove

#: The width over which a bound is rounded off, as a share of the middling charge.
_SMOOTH = 0.1
#: How many changes of a support are tried, at the root and at every other node.
_ROOT_TRIES, _NODE_TRIES = 200, 2
#: How many changes of who feeds whom are tried of the best support, how many such plans are kept,
#: and how far the prices of a node are moved to those of pools that are joined.
_FED_TRIES, _MOST_FED, _PARTS = 6, 4, (1.0, 0.5, 0.25)
#: The part of the time that is kept to make integers of what was found.
_KEPT = 0.2


@dataclass(frozen=True, slots=True)
class Limits:
    """When to stop: at this gap, after so many nodes, or when ``clock()`` reaches ``until``.

    Without a clock the answer depends on the problem alone. With one the search ends earlier, so
    that there is time for the rest.
    """

    gap_e8: int = 100_000
    nodes: int = 2_000
    clock: Callable[[], float] | None = None
    until: float = 0.0

    def begun(self) -> Limits:
        """These limits for a search that begins now."""
        if self.clock is None:
            return self
        return replace(self, until=self.until - _KEPT * max(self.until - self.clock(), 0.0))

    def reached(self, nodes: int) -> bool:
        """Whether the work has to stop for its length."""
        return nodes >= self.nodes or self.late()

    def late(self) -> bool:
        """Whether the clock says so."""
        return self.clock is not None and self.clock() >= self.until


@dataclass(frozen=True, slots=True)
class Support:
    """Pools and stakes to use, as IN and OUT, their prices, and what the plan is worth net."""

    choices: Choices
    prices: Floats
    value: float


@dataclass(frozen=True, slots=True)
class Answer:
    """The best plan found, and how much better another can be; values in shares of NAV.

    ``supports`` are all good supports met, the best first: the integers of one may not be
    executable. None of them is worth less than ``hold``; empty for a hold. Of those in ``fed`` some
    pools feed others. ``bound`` is what no
    plan is worth more than, under a toll less than holding perhaps.
    """

    graph: Graph
    gas: Gas
    links: Floats
    hold: float
    bound: float
    supports: tuple[Support, ...]
    fed: tuple[Fed, ...]
    root: Node
    nodes: int

    @property
    def value(self) -> float:
        """What the best found is worth, holding included."""
        return _most(self.hold, self.supports[:1], self.fed[:1])

    @property
    def upper(self) -> float:
        """What no plan is worth more than, holding included."""
        return max(self.bound, self.hold)

    @property
    def gap(self) -> float:
        """What can be missing at most, in shares of NAV."""
        return max(self.upper - self.value, 0.0)

    def trades(self, support: Support) -> Trades:
        """The trades of a support, in shares of NAV."""
        case = of_support(self.graph, self.gas, support.choices)
        return best_trades(self.graph, case, support.prices)


def _most(hold: float, supports: Sequence[Support], fed: Sequence[Fed]) -> float:
    """What the best of these is worth."""
    return max([hold, *(x.value for x in supports), *(x.value for x in fed)])


def links_of(made: Statement, graph: Graph) -> Floats:
    """To whom the saving of chained legs is best credited, see ``gas_of``: any share is a bound.

    To the one of both that there will be less of: what is mostly sold is seldom bought. Halves for
    an intermediate.
    """
    links = np.full(graph.held.size, 0.5)
    if made.chained_saving_e8:
        sold = graph.held - worth(graph, relax(graph).trades).holdings
        links[graph.stiff > 0] = np.where(sold > 0, 0.0, 1.0)[graph.stiff > 0]
    return links


def solve(made: Statement, limits: Limits | None = None, toll: float = 0.0) -> Answer:
    """The best plan of ``made`` with gas; the gap that ``limits`` leave open is in the answer.

    First asks whether doing nothing is optimal, which mostly it is. Best bound first; equal ones in
    the order they were met, so the same statement gives the same answer. ``toll`` is due on
    whatever is sold net: the price of a limit on it, whose worth is not in the answer's values.
    """
    return _Search.of(made, (limits or Limits()).begun(), toll).run()


@dataclass(slots=True)
class _Search:
    graph: Graph
    gas: Gas
    limits: Limits
    tolerance: float
    hold: float
    mu: float
    links: Floats
    supports: list[Support] = field(default_factory=list)
    fed: list[Fed] = field(default_factory=list)
    seen: set[bytes] = field(default_factory=set)
    nodes: int = 1

    @classmethod
    def of(cls, made: Statement, limits: Limits, toll: float) -> _Search:
        graph = lay_out(made)._replace(toll=toll)
        links = links_of(made, graph)
        gas = gas_of(made, links)
        charged = gas.full[gas.full > 0]
        return cls(
            graph=graph,
            gas=gas,
            limits=limits,
            tolerance=limits.gap_e8 / made.nav_e8,
            hold=worth(graph, nothing(graph)).value,
            mu=max(
                _SMOOTH * float(np.median(charged)) if charged.size else 0.0,
                _SMOOTH * float(graph.least_sold.max(initial=0.0)) / 1_000,
            ),
            links=links,
        )

    @property
    def best(self) -> float:
        return _most(self.hold, self.supports[:1], self.fed[:1])

    def run(self) -> Answer:
        choices = undecided(self.graph, OPEN)
        case, _, paid = charges(self.graph, self.gas, choices)
        rest = at_rest(self.graph, case)
        root = Node(rest.prices, self._bound(choices, rest.prices, turns=0))
        if min(rest.upper - paid, root.upper) <= self.hold + 1e-15:
            return self._answer(root)
        prices = first_prices(self.graph)
        upper = self._bound(choices, prices)
        if upper < root.upper:
            root = Node(prices, upper)
        self._try(undecided(self.graph, IN), first_prices(self.graph), _ROOT_TRIES)
        open_nodes = [(-root.upper, 0, root, choices)]
        while open_nodes and not self.limits.reached(self.nodes):
            upper, _, node, choices = heapq.heappop(open_nodes)
            if -upper <= self.best + self.tolerance:
                heapq.heappush(open_nodes, (upper, -1, node, choices))
                break
            item, support = pick(self.graph, self.gas, choices, node.prices, self.mu)
            self._try(support, node.prices, _NODE_TRIES if self.nodes > 1 else _ROOT_TRIES)
            if item < 0:
                continue
            node.item = item
            for state in (IN, OUT):
                child_choices = copied(choices)
                states, at = place(child_choices, item)
                states[at] = state
                prices = node.prices.copy()
                child = self._joint(child_choices, Node(prices, self._bound(child_choices, prices)))
                if state == IN:
                    node.used = child
                else:
                    node.unused = child
                self.nodes += 1
                heapq.heappush(open_nodes, (-child.upper, self.nodes, child, child_choices))
        return self._answer(root)

    def _answer(self, root: Node) -> Answer:
        prove(root)
        found = tuple(s for s in self.supports if s.value > self.hold)
        return Answer(
            graph=self.graph,
            gas=self.gas,
            links=self.links,
            hold=self.hold,
            bound=root.proved,
            supports=found,
            fed=tuple(self.fed),
            root=root,
            nodes=self.nodes,
        )

    def _bound(self, choices: Choices, prices: Floats, turns: int = 1) -> float:
        cutoff = self.best + self.tolerance
        return bound(self.graph, self.gas, choices, prices, self.mu, cutoff, turns)

    def _joint(self, choices: Choices, node: Node) -> Node:
        """The node at better prices, where pools have to feed each other."""
        if node.upper <= self.best + self.tolerance or not (choices.approval == OUT).any():
            return node
        _, support = pick(self.graph, self.gas, choices, node.prices, self.mu)
        found = joint(self.graph, self.gas, choices, support, node.prices)
        if found is None:
            return node
        self._remember(found)
        way = joint_prices(self.graph, found) - node.prices
        for part in _PARTS:
            prices = node.prices + part * way
            other = Node(prices, self._bound(choices, prices, turns=0))
            node = other if other.upper < node.upper else node
        return node

    def _remember(self, found: Fed) -> None:
        """Keep a plan in which pools feed others, if there is none that is better."""
        if found.chains and found.value > self.best:
            self.fed.insert(0, found)
            del self.fed[_MOST_FED:]

    def _try(self, choices: Choices, prices: Floats, tries: int) -> None:
        """Make the best of a support and remember it."""
        start = _key(choices)
        if start in self.seen:
            return
        self.seen.add(start)
        choices, prices = copied(choices), prices.copy()
        value = improve(self.graph, self.gas, choices, prices, tries)
        end = _key(choices)
        if end != start and end in self.seen:
            return
        self.seen.add(end)
        if not (choices.edge == IN).any() and not (choices.stake == IN).any():
            return
        self.supports.append(Support(choices, prices, value))
        self.supports.sort(key=lambda s: -s.value)
        del self.supports[8:]
        if value > self.hold and self.supports[0].prices is prices:
            self._remember(feed(self.graph, self.gas, choices, prices, _FED_TRIES))


def _key(choices: Choices) -> bytes:
    return b"".join(states.tobytes() for states in choices)
