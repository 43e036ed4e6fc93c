"""Who feeds whom: the plans around a support in which pools are paid straight by other pools.

A leg that is fed spares the approval of what it sells, if all that sell it are, and the way over
the wallet; in return two pools earn less together than each at its own amount. At the prices of a
support, what everything earns with a change made, less what the change costs, is the most that the
change can gain. So changes are tried in that order, and only those that might pay.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rebalancer.planner.optimal.chains import Chain, Way, chains_of, joined
from rebalancer.planner.optimal.charging import (
    IN,
    OUT,
    Choices,
    Gas,
    copied,
    cost_of,
    of_support,
    place,
    users,
)
from rebalancer.planner.optimal.fed import Fed, solved
from rebalancer.planner.optimal.graph import Floats, Graph
from rebalancer.planner.optimal.links import Links, links_of
from rebalancer.planner.optimal.relaxation import best_trades
from rebalancer.planner.optimal.search import earnings
from rebalancer.planner.optimal.supports import surplus_of

#: What promises less than this share of NAV is not tried.
_DUST = 1e-12
#: A change that loses is followed by so many more before it is given up.
_FOLLOWED = 2
#: How many pools that take an asset are all fed at once, and by how many each may be.
_TAKERS, _PAYERS = 4, 4


class Change(NamedTuple):
    """Items to turn over, by number; takers to be fed no more; payers that feed a taker instead."""

    items: tuple[int, ...] = ()
    cuts: tuple[Way, ...] = ()
    links: tuple[tuple[Way, Way], ...] = ()


def feed(graph: Graph, gas: Gas, choices: Choices, prices: Floats, tries: int) -> Fed:
    """The best that is found near a support by changing who feeds whom and what is used.

    First whole positions are fed by what pays most nearly as much (``chains_of``), then the best of
    that is changed step by step, ``tries`` times at most.
    """
    state = plain = solved(graph, gas, choices, (), prices)
    trades = best_trades(graph, of_support(graph, gas, plain.choices), plain.prices)
    for chains in chains_of(graph, plain.choices, trades):
        state = _better(state, solved(graph, gas, plain.choices, chains, plain.prices))
        tries -= 1
    failed: set[Change] = set()
    offers = _offers(graph, gas, state)
    while tries > 0:
        change = _likeliest(offers, failed, 0.0)
        if change is None:
            break
        failed.add(change)
        found, tries = _changed(graph, gas, state, change), tries - 1
        followed = {change}
        for _ in range(_FOLLOWED):
            if found.value > state.value or tries <= 0:
                break
            further = _offers(graph, gas, found, cuts=False)
            change = _likeliest(further, followed, state.value - found.value)
            if change is None:
                break
            followed.add(change)
            found, tries = _better(found, _changed(graph, gas, found, change)), tries - 1
        if found.value > state.value:
            state = found
            failed.clear()
            offers = _offers(graph, gas, state)
    return state


def _better(one: Fed, other: Fed) -> Fed:
    """The one that is worth more, the first of equals."""
    return other if other.value > one.value else one


def _changed(graph: Graph, gas: Gas, state: Fed, change: Change) -> Fed:
    """The best trades after a change."""
    plain, chains = copied(state.plain), {chain.ways[0]: chain.ways for chain in state.chains}
    for item in change.items:
        states, at = place(plain, item)
        states[at] = OUT if states[at] == IN else IN
        if states is plain.edge:
            for way in chains.pop(at, ())[1:]:
                plain.edge[way] = OUT
    for cut in change.cuts:
        first = next(start for start, ways in chains.items() if cut in ways)
        here = chains[first].index(cut)
        chains[first], chains[cut] = chains[first][:here], chains[first][here:]
    for payer, taker in change.links:
        first = next((start for start, ways in chains.items() if payer in ways), payer)
        if first == taker:
            continue
        chains[first] = chains.get(first, (payer,)) + chains.pop(taker, (taker,))
        for way in chains[first]:
            plain.edge[way] = IN
    long = tuple(Chain(ways) for _, ways in sorted(chains.items()) if len(ways) > 1)
    return solved(graph, gas, plain, long, state.prices)


def _likeliest(
    offers: list[tuple[float, Change]], failed: set[Change], least: float
) -> Change | None:
    """The change that promises most, of those that promise enough and have not failed."""
    left = [offer for offer in offers if offer[0] > least + _DUST and offer[1] not in failed]
    return max(left, key=lambda offer: offer[0], default=(0.0, None))[1]


def _offers(graph: Graph, gas: Gas, state: Fed, *, cuts: bool = True) -> list[tuple[float, Change]]:
    """What could be changed, each with the most that it can gain."""
    singles = _singles(state)
    found = [(float(singles[i]), Change((int(i),))) for i in np.flatnonzero(singles > _DUST)]
    links = _links(state)
    gain = links.gain - links.middle
    for at in np.flatnonzero(gain > _DUST):
        found.append((float(gain[at]), Change(links=(_link(links, at),))))
    found += _all_fed(state, links, singles)
    return found + _cut(graph, gas, state) if cuts else found


def _singles(state: Fed) -> Floats:
    """What using or not using each item gains at most; nothing for what is part of a chain."""
    graph = state.graph
    found = surplus_of(graph, state.gas, state.choices, state.prices)
    edges = state.choices.edge.size
    for chain in state.chains:
        for k, side in chain.ways:
            kept = found[2 * k + side] if (k, side) == chain.ways[0] else 0.0
            found[2 * k : 2 * k + 2] = 0.0
            found[2 * k + side] = kept
            if graph.stake_of[k] >= 0:
                at = edges + 2 * graph.stake_of[k]
                found[at : at + 2] = 0.0
    return found


def _links(state: Fed) -> Links:
    """Which way could feed which: pools that are used and others, chains as one pool."""
    graph = state.graph
    edge, stake = state.choices.edge, state.choices.stake
    free = ~(edge == IN)[:, ::-1]
    for k in np.flatnonzero(graph.stake_of >= 0):
        free[k] &= not (stake[graph.stake_of[k]] == IN).any()
    for chain in state.chains:
        for k, _ in chain.ways:
            free[k] = False
        free[chain.ways[0]] = True
    return links_of(graph, state.gas, state.choices, state.prices, free)


def _all_fed(state: Fed, links: Links, singles: Floats) -> list[tuple[float, Change]]:
    """Spare the approval of an asset: feed each pool that takes it, or leave it out."""
    graph, approval = state.graph, state.gas.approval
    used = (state.choices.edge == IN).ravel()
    _, sells, _ = users(graph, state.gas, state.choices)
    found: list[tuple[float, Change]] = []
    for i in np.flatnonzero((sells > 1) & (approval > 0.0)):
        takers = np.flatnonzero(used & (graph.token.ravel() == i))
        if takers.size != sells[i] or takers.size > _TAKERS:
            continue
        options = []
        for taker in takers.tolist():
            at = np.flatnonzero(links.taker == taker)
            at = at[np.argsort(-links.gain[at], kind="stable")][:_PAYERS]
            mine = [(float(links.gain[x]), Change(links=(_link(links, x),))) for x in at]
            mine.append((float(singles[taker]), Change((taker,))))
            options.append(sorted(mine, key=lambda option: -option[0]))
        _assign(options, float(approval[i]), Change(), found)
    return found


def _assign(
    options: list[list[tuple[float, Change]]],
    total: float,
    change: Change,
    found: list[tuple[float, Change]],
) -> None:
    """All that may gain, one option of each, no pool paying twice or left out and paying."""
    if total + sum(mine[0][0] for mine in options) <= _DUST:
        return
    if not options:
        if change.links:
            found.append((total, change))
        return
    busy = {payer[0] for payer, _ in change.links} | {item // 2 for item in change.items}
    for gain, more in options[0]:
        needed = {payer[0] for payer, _ in more.links} | {item // 2 for item in more.items}
        if not busy & needed:
            both = Change(change.items + more.items, (), change.links + more.links)
            _assign(options[1:], total + gain, both, found)


def _cut(graph: Graph, gas: Gas, state: Fed) -> list[tuple[float, Change]]:
    """Feed one taker no more, or from another pool, or another taker from its payer."""
    found: list[tuple[float, Change]] = []
    for chain in state.chains:
        for at in range(1, len(chain.ways)):
            parted = _parted(graph, gas, state, chain, at)
            cost = cost_of(parted.graph, parted.gas, parted.choices)
            cost -= cost_of(state.graph, state.gas, state.choices)
            gain = _earned(parted) - _earned(state) - cost
            cut, payer = (chain.ways[at],), 2 * chain.ways[0][0] + chain.ways[0][1]
            taker = 2 * cut[0][0] + cut[0][1]
            found.append((gain, Change(cuts=cut)))
            links = _links(parted)
            more = gain + links.gain - links.middle
            near = (links.payer == payer) ^ (links.taker == taker)
            for x in np.flatnonzero(near & (more > _DUST)):
                found.append((float(more[x]), Change(cuts=cut, links=(_link(links, x),))))
    return found


def _parted(graph: Graph, gas: Gas, state: Fed, chain: Chain, at: int) -> Fed:
    """A support with a chain cut in two, at the prices it had."""
    parts = [Chain(ways) for ways in (chain.ways[:at], chain.ways[at:]) if len(ways) > 1]
    chains = tuple(c for c in state.chains if c is not chain) + tuple(parts)
    joint, joint_gas, choices = joined(graph, gas, state.plain, chains)
    return Fed(state.plain, chains, joint, joint_gas, choices, state.prices, state.value)


def _earned(state: Fed) -> float:
    """What the ways of a support earn at its prices."""
    case = of_support(state.graph, state.gas, state.choices)
    earned, _ = earnings(state.graph, case, state.prices)
    return float(earned[state.choices.edge == IN].sum())


def _link(links: Links, at: int) -> tuple[Way, Way]:
    """The pair at a place, as ways."""
    payer, taker = int(links.payer[at]), int(links.taker[at])
    return divmod(payer, 2), divmod(taker, 2)
