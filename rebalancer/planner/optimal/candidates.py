"""From what the search found to legs: supports fitted to limits, to integers, to an order.

A support is a plan in floats. Here each becomes a schedule of legs, and where that cannot be
executed or falls short of a limit, others near it are tried; the exact replay judges them all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import inf

import numpy as np

from rebalancer.planner.optimal.branch import Answer, Support
from rebalancer.planner.optimal.chains import Chain, apart
from rebalancer.planner.optimal.charging import IN, OUT, Gas, copied, of_support, undecided
from rebalancer.planner.optimal.fed import solved
from rebalancer.planner.optimal.feeding import feed
from rebalancer.planner.optimal.graph import Graph, lay_out, share
from rebalancer.planner.optimal.integers import Schedule, schedule
from rebalancer.planner.optimal.newton import resting_prices
from rebalancer.planner.optimal.relaxation import Trades, best_trades, first_prices, worth
from rebalancer.planner.optimal.search import earnings
from rebalancer.planner.optimal.statement import Statement
from rebalancer.planner.optimal.supports import improve, solve_support

#: Room that floats leave to integers, as a part of a limit.
_ROOM = 1e-7
#: Units by which floored legs can miss an amount.
_UNITS = 4
#: How many changes of a support are tried where legs run in a circle.
_RING_TRIES = 40
#: Halvings that fit a support to what may be sold.
_HALVINGS = 40
#: How often who feeds whom is changed: at least, and together for all pools of a small problem.
_FEWEST_CHANGES, _CHANGED_POOLS = 6, 120
#: How often what floored legs lack of what is owed is asked for again.
_TOP_UPS = 3


@dataclass(frozen=True, slots=True)
class Candidate:
    """A support to try on a graph, which may have tighter limits than the problem.

    ``chains`` are pools that feed each other, each as one pool of the graph. ``value`` is what the
    floats promise, in shares of NAV; no more than ``most_sold`` of it is sold net.
    """

    graph: Graph
    gas: Gas
    support: Support
    chains: tuple[Chain, ...] = ()
    most_sold: float = inf

    @property
    def value(self) -> float:
        return self.support.value


def candidates(made: Statement, answer: Answer) -> list[Candidate]:
    """The supports of a search, with room for integers, within what may be sold."""
    graph = _with_room(made, answer.graph)
    most = inf if made.max_sold_e8 is None else made.max_sold_e8 / made.nav_e8 * (1 - _ROOM)
    supports = answer.supports
    if not supports and answer.bound > answer.hold:
        supports = (_holding(graph, answer.hold),)
    found = [Candidate(graph, answer.gas, x, most_sold=most) for x in supports]
    for x in answer.fed:
        fed = solved(graph, answer.gas, x.plain, x.chains, x.prices)
        support = Support(fed.choices, fed.prices, fed.value)
        found.append(Candidate(fed.graph, fed.gas, support, fed.chains, most))
    found.sort(key=lambda x: -x.value)
    if made.max_sold_e8 is None:
        return found
    fits = [_fitted(candidate) for candidate in found]
    return [candidate for candidate in fits if candidate is not None]


def with_chains(answer: Answer, candidate: Candidate) -> Iterator[Candidate]:
    """The candidate with pools that feed others, and what else is better then."""
    graph, support = candidate.graph, candidate.support
    tries = max(_FEWEST_CHANGES, _CHANGED_POOLS // max(graph.gamma.size, 1))
    found = feed(graph, candidate.gas, support.choices, support.prices, tries)
    if not found.chains:
        return
    fed = Support(found.choices, found.prices, found.value)
    made = replace(candidate, graph=found.graph, gas=found.gas, support=fed, chains=found.chains)
    fits = made if made.most_sold == inf else _fitted(made)
    if fits is not None and fits.value > answer.hold:
        yield fits


def legs_of(made: Statement, candidate: Candidate) -> tuple[Schedule, Trades]:
    """The legs of a candidate; asks for more where they miss what is owed by roundings alone."""
    pools = [pool.key for pool in made.pools]
    links = {
        pools[payer[0]]: pools[taker[0]]
        for chain in candidate.chains
        for payer, taker in zip(chain.ways, chain.ways[1:], strict=False)
    }
    plain = lay_out(made)
    for _ in range(_TOP_UPS):
        graph = candidate.graph
        trades = apart(plain, _solved(candidate), candidate.chains)
        found = schedule(made, plain._replace(held=graph.held), trades, links)
        lacking = {
            i: asset.owed - found.held[asset.key]
            for i, asset in enumerate(made.assets)
            if 0 < asset.owed - found.held[asset.key] <= asset.owed // 10**6 + _UNITS
        }
        if not lacking:
            break
        held = graph.held.copy()
        for i, raw in lacking.items():
            held[i] -= share(made, made.assets[i], raw + 1)
        candidate = replace(candidate, graph=graph._replace(held=held))
    return found, trades


def shortened(candidate: Candidate, most: int) -> Candidate:
    """With no more items than the batch takes: what earns least is left out."""
    graph, support = candidate.graph, candidate.support
    choices, prices, value = copied(support.choices), support.prices.copy(), support.value
    edge, stake, _, _ = choices
    chained = [(chain.ways[0], len(chain.ways) - 1) for chain in candidate.chains]
    while (edge == IN).sum() + (stake == IN).sum() + sum(
        more for first, more in chained if edge[first] == IN
    ) > most:
        earned, moved = earnings(graph, of_support(graph, candidate.gas, choices), prices)
        states, earns = (edge, earned) if (edge == IN).any() else (stake, moved)
        least = np.where(states == IN, earns, np.inf).argmin()
        states[np.unravel_index(least, states.shape)] = OUT
        value = solve_support(graph, candidate.gas, choices, prices)
    return replace(candidate, support=Support(choices, prices, value))


def around(made: Statement, candidate: Candidate, trades: Trades, pool: str) -> Iterator[Candidate]:
    """What to try where legs that run in a circle could not start at ``pool``.

    Plan anew with no more in that pool than the wallet holds of what it sells, if it is more, and
    without it.
    """
    graph, support = candidate.graph, candidate.support
    if candidate.chains:
        return
    k = [p.key for p in made.pools].index(pool)
    side = int(trades.side[k])
    held = max(float(graph.held[graph.token[k, side]]), 0.0)
    room = float(graph.gamma[k] * held / graph.reserve[k, side])
    whole = float(graph.gamma[k] * trades.amount_in[k] / graph.reserve[k, side])
    for most in (1.0 + room * (1.0 - 1e-9), 1.0):
        if 1.0 + whole <= most:
            continue
        reach = graph.reach.copy()
        reach[k, side] = min(reach[k, side], most)
        limited = graph._replace(reach=reach)
        choices, prices = copied(support.choices), support.prices.copy()
        value = improve(limited, candidate.gas, choices, prices, _RING_TRIES)
        yield Candidate(limited, candidate.gas, Support(choices, prices, value))


def calm_kappa_ppm(made: Statement, graph: Graph) -> int | None:
    """The largest drift aversion at which a dollar more of no position makes it worth less.

    Above it the best plan would rather turn what is overweight into nothing than keep it. None if
    the statement's is no larger.
    """
    slopes = resting_prices(graph)[: graph.held.size]
    wanted = (graph.stiff > 0) & (graph.held > 0)
    falls = 1.0 - float(slopes[wanted].min(initial=1.0))
    if falls < 0.9:
        return None
    return max(int(made.kappa_ppm * 0.9 / falls), 1)


def _holding(graph: Graph, hold: float) -> Support:
    """Nothing used: what is only worth while when fed is found from here."""
    return Support(undecided(graph, OUT), first_prices(graph), hold)


def _with_room(made: Statement, graph: Graph) -> Graph:
    """Limits a hair tighter, where floored legs would else break them.

    What sells an intermediate must be able to take the last unit of it, and what is sold at least
    may not be a unit less.
    """
    between = [a.target_ppm is None for a in made.assets]
    reach = graph.reach.copy()
    for k in range(reach.shape[0]):
        for side in range(2):
            if between[graph.token[k, side]] or made.max_leg_e8 is not None:
                reach[k, side] = 1.0 + (reach[k, side] - 1.0) * (1.0 - _ROOM)
    units = np.array([share(made, asset, _UNITS) for asset in made.assets])
    least = np.where(graph.least_sold > 0, graph.least_sold * (1 + _ROOM) + units, 0.0)
    return graph._replace(reach=reach, least_sold=least)


def _solved(candidate: Candidate) -> Trades:
    """The trades of a support on a graph that may differ a little from the one it was found on."""
    graph, support, gas = candidate.graph, candidate.support, candidate.gas
    choices, prices = copied(support.choices), support.prices.copy()
    solve_support(graph, gas, choices, prices)
    return best_trades(graph, of_support(graph, gas, choices), prices)


def sold(graph: Graph, trades: Trades) -> float:
    """What trades sell net, all assets together, as a share of NAV."""
    gone = graph.held - worth(graph, trades).holdings
    return float(np.maximum(gone, 0.0)[graph.stiff > 0].sum())


def _fitted(candidate: Candidate) -> Candidate | None:
    """At the toll at which just the most is sold; None where even the highest leaves more."""

    def at(toll: float) -> Candidate | None:
        graph = candidate.graph._replace(toll=toll)
        choices = copied(candidate.support.choices)
        prices = candidate.support.prices.copy()
        value = solve_support(graph, candidate.gas, choices, prices)
        trades = best_trades(graph, of_support(graph, candidate.gas, choices), prices)
        gone = sold(graph, trades)
        if gone > candidate.most_sold or not np.isfinite(value):
            return None
        support = Support(choices, prices, value + toll * gone)
        return replace(candidate, graph=graph, support=support)

    free = at(0.0)
    if free is not None:
        return free
    low, high, best = 0.0, max(candidate.graph.toll, 1e-6), None
    while best is None and high < 4.0 * candidate.graph.urgency:
        best = at(high)
        low, high = (low, high) if best is not None else (high, 2.0 * high)
    for _ in range(_HALVINGS if best is not None else 0):
        middle = (low + high) / 2
        found = at(middle)
        if found is None:
            low = middle
        else:
            high, best = middle, found
    return best
