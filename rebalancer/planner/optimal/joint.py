"""Prices for plans in which pools feed others: those at which a pool takes just what it is paid.

The dual's own prices let what goes through an asset come and go in any amounts. Where its approval
is decided not to be paid, the pools that it goes through are joined, as in ``fed``, and priced
together; then the asset between them is worth what it costs the one that pays it. At these prices
each of them earns most by the very amounts of the chain: a bound is what the chain is worth.
"""

from __future__ import annotations

import numpy as np

from rebalancer.planner.optimal.chains import apart, chains_over
from rebalancer.planner.optimal.charging import OUT, Choices, Gas, of_support
from rebalancer.planner.optimal.fed import Fed, solved
from rebalancer.planner.optimal.graph import Floats, Graph
from rebalancer.planner.optimal.relaxation import best_trades


def joint(graph: Graph, gas: Gas, choices: Choices, support: Choices, x: Floats) -> Fed | None:
    """The plan over ``support``, which the prices ``x`` suggest, with pools joined.

    None where nothing has to be joined, or cannot be.
    """
    unsold = np.flatnonzero((choices.approval[:, 0] == OUT) & (gas.approval > 0.0)).tolist()
    trades = best_trades(graph, of_support(graph, gas, support), x)
    chains = chains_over(graph, support, trades, unsold)
    found = solved(graph, gas, support, chains, x) if chains else None
    return found if found is not None and found.chains else None


def joint_prices(graph: Graph, found: Fed) -> Floats:
    """Prices at which each pool that is fed earns most by just what it is paid."""
    prices = found.prices.copy()
    trades = best_trades(found.graph, of_support(found.graph, found.gas, found.choices), prices)
    trades = apart(graph, trades, found.chains)
    for chain in found.chains:
        for k, take in chain.ways[:-1]:
            into, out = graph.reserve[k, take], graph.reserve[k, 1 - take]
            after = into + graph.gamma[k] * trades.amount_in[k]
            rate = graph.gamma[k] * into * out / (after * after)
            sold, bought = graph.token[k, take], graph.token[k, 1 - take]
            prices[bought] = prices[sold] / rate + graph.setaside
    return prices
