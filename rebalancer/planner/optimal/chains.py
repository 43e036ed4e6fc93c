"""Plans in which one pool feeds another with a position, which then needs no approval.

Two pools of which one is paid all that the other pays are a pool again: with reserves
``R_b R_ka / M`` and ``g_k R_ja R_kc / M``, ``M = R_ka + g_k R_ja``, and the first one's fee (the
notation of ``through``). So a support whose pools are joined is solved like any other. What is set
aside for slippage of an output between is kept back of the last one instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from rebalancer.planner.optimal.charging import IN, OUT, Choices, Gas, copied
from rebalancer.planner.optimal.graph import Graph
from rebalancer.planner.optimal.relaxation import Trades

#: A direction of a pool: its number and the side that is sold.
Way = tuple[int, int]
#: Room that floats leave to the integers of a pool that is fed up to its limit.
_ROOM = 1e-9


@dataclass(frozen=True, slots=True)
class Chain:
    """Ways over pools, each fed by the one before; they stand as one pool in the first's place."""

    ways: tuple[Way, ...]


def chains_of(graph: Graph, choices: Choices, trades: Trades) -> Iterator[tuple[Chain, ...]]:
    """What could be joined in a support: one position at a time, and all of them together.

    Each pool that takes a position is fed by the one that pays most nearly what it takes.
    """
    positions = np.flatnonzero(graph.stiff > 0.0).tolist()
    links = [found for i in positions if (found := _links(graph, choices, trades, i))]
    if len(links) > 1:
        yield _chains({payer: taker for found in links for payer, taker in found.items()})
    for found in links:
        yield _chains(found)


def chains_over(
    graph: Graph, choices: Choices, trades: Trades, assets: list[int]
) -> tuple[Chain, ...]:
    """What has to be joined where none of these assets is sold from the wallet."""
    found = [_links(graph, choices, trades, i) for i in assets]
    return _chains({payer: taker for links in found for payer, taker in links.items()})


def _links(graph: Graph, choices: Choices, trades: Trades, i: int) -> dict[Way, Way]:
    """Who feeds each pool that takes asset ``i``, none if there are too few that could."""
    takers = _ways(graph, choices, i, 0)
    payers = _ways(graph, choices, i, 1)
    found: dict[Way, Way] = {}
    for taker in sorted(takers, key=lambda w: -trades.amount_in[w[0]]):
        free = [p for p in payers if p not in found and p[0] != taker[0]]
        if not free:
            return {}
        wanted = trades.amount_in[taker[0]]
        gaps = [abs(float(trades.amount_out[payer[0]] - wanted)) for payer in free]
        found[free[gaps.index(min(gaps))]] = taker
    return found


def joined(
    graph: Graph, gas: Gas, choices: Choices, chains: tuple[Chain, ...]
) -> tuple[Graph, Gas, Choices]:
    """The problem with each chain as one pool, and its gas."""
    graph = graph._replace(
        token=graph.token.copy(),
        reserve=graph.reserve.copy(),
        gamma=graph.gamma.copy(),
        reach=graph.reach.copy(),
    )
    full, touch, choices = gas.full.copy(), gas.touch.copy(), copied(choices)
    for chain in chains:
        (first, give), *further = chain.ways
        r_in, r_out = graph.reserve[first, give], graph.reserve[first, 1 - give]
        gamma = graph.gamma[first]
        most = r_in * (graph.reach[first, give] - 1.0) / gamma
        end = graph.token[first, 1 - give]
        for k, take in further:
            r_ka, r_c, gamma_k = graph.reserve[k, take], graph.reserve[k, 1 - take], graph.gamma[k]
            most_k = r_ka * (graph.reach[k, take] - 1.0) / gamma_k
            most_k *= 1.0 - _ROOM
            if most_k < r_out:  # what pays so much
                most = min(most, most_k * r_in / (gamma * (r_out - most_k)))
            middle = r_ka + gamma_k * r_out
            r_in, r_out = r_in * r_ka / middle, gamma_k * r_out * r_c / middle
            full[first] += full[k] - gas.chained + touch[end]
            full[k] = touch[end] = 0.0
            end = graph.token[k, 1 - take]
            choices.edge[k] = OUT
            graph.reach[k] = 1.0
        start = graph.token[first, give]
        if end == start:
            most = min(most, max(float(graph.held[start]), 0.0))
        graph.token[first, 1 - give] = end
        graph.reserve[first, give] = r_in
        graph.reserve[first, 1 - give] = r_out * (1.0 - graph.setaside) ** len(further)
        graph.reach[first, give] = 1.0 + gamma * most / r_in
        graph.reach[first, 1 - give] = 1.0
        choices.edge[first, 1 - give] = OUT
    return graph, gas._replace(full=full, touch=touch), choices


def apart(graph: Graph, trades: Trades, chains: tuple[Chain, ...]) -> Trades:
    """Trades over joined pools as those over each."""
    side, amount_in, amount_out = (
        trades.side.copy(),
        trades.amount_in.copy(),
        trades.amount_out.copy(),
    )
    for chain in chains:
        flow = amount_in[chain.ways[0][0]]
        for k, take in chain.ways:
            side[k], amount_in[k] = take, flow
            after = graph.gamma[k] * flow
            whole = graph.reserve[k, take] + after
            amount_out[k] = flow = graph.reserve[k, 1 - take] * after / whole
    return Trades(side, amount_in, amount_out, trades.burn)


def _ways(graph: Graph, choices: Choices, i: int, end: int) -> list[Way]:
    """Ways that are IN over pools without a stake and sell asset ``i``, or buy it if ``end``."""
    token = graph.token if end == 0 else graph.token[:, ::-1]
    found = np.argwhere((choices.edge == IN) & (token == i))
    return [(int(k), int(side)) for k, side in found if graph.stake_of[k] < 0]


def _chains(links: dict[Way, Way]) -> tuple[Chain, ...]:
    """Links one after the other; one of a ring is left out."""
    links = dict(links)
    for start in sorted(links):
        at, seen = start, {start}
        while at in links:
            if links[at] in seen:
                del links[at]
                break
            at = links[at]
            seen.add(at)
    fed = set(links.values())
    chains = []
    for start in sorted(links):
        if start in fed:
            continue
        ways = [start]
        while ways[-1] in links:
            ways.append(links[ways[-1]])
        chains.append(Chain(tuple(ways)))
    return tuple(chains)
