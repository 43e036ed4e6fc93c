"""A support in which pools feed others, each chain of them as one pool, solved."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from rebalancer.planner.optimal.chains import Chain, apart, joined
from rebalancer.planner.optimal.charging import IN, Choices, Gas, copied, cost_of, of_support
from rebalancer.planner.optimal.graph import Floats, Graph
from rebalancer.planner.optimal.relaxation import best_trades, worth
from rebalancer.planner.optimal.supports import solve_support

#: How often what a slippage reserve keeps back is counted anew: each time to a thousandth of it.
_ARRIVALS = 2


@dataclass(frozen=True, slots=True)
class Fed:
    """A support with ``chains``, each as one pool of ``graph``; ``plain`` is it with each pool."""

    plain: Choices
    chains: tuple[Chain, ...]
    graph: Graph
    gas: Gas
    choices: Choices
    prices: Floats
    value: float


def solved(
    graph: Graph, gas: Gas, plain: Choices, chains: tuple[Chain, ...], prices: Floats
) -> Fed:
    """The best trades over a support and its chains; what they do not use is taken out of both."""
    while True:
        joint, joint_gas, choices = joined(graph, gas, plain, chains)
        x = prices.copy()
        value = solve_support(joint, joint_gas, choices, x)
        if chains and graph.setaside and value > -inf:
            joint, value = _arriving(graph, joint, joint_gas, choices, chains, x)
        used = tuple(chain for chain in chains if choices.edge[chain.ways[0]] == IN)
        plain = copied(choices)
        for chain in used:
            for way in chain.ways:
                plain.edge[way] = IN
        if len(used) == len(chains):
            return Fed(plain, chains, joint, joint_gas, choices, x, value)
        chains = used


def _arriving(
    graph: Graph,
    joint: Graph,
    joint_gas: Gas,
    choices: Choices,
    chains: tuple[Chain, ...],
    x: Floats,
) -> tuple[Graph, float]:
    """``joint`` with what ``joined`` keeps back of the outputs between for the slippage reserve.

    That much arrives all the same: it is there beside what the trades are solved for, anew.
    """
    value = -inf
    for _ in range(_ARRIVALS):
        trades = best_trades(joint, of_support(joint, joint_gas, choices), x)
        held = graph.held.copy()
        real = apart(graph, trades, chains)
        for chain in chains:
            (first, _), (last, take) = chain.ways[0], chain.ways[-1]
            if trades.amount_in[first] > 0.0:
                kept = real.amount_out[last] - trades.amount_out[first]
                held[graph.token[last, 1 - take]] += kept
        joint = joint._replace(held=held)
        if solve_support(joint, joint_gas, choices, x) == -inf:
            return joint, -inf
        trades = best_trades(joint, of_support(joint, joint_gas, choices), x)
        value = worth(graph, apart(graph, trades, chains)).value
        value -= cost_of(joint, joint_gas, choices)
    return joint, value
