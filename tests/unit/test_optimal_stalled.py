"""Newton where the dual has a kink, or no least: it ends, and soon."""

from __future__ import annotations

from dataclasses import replace

import pytest
from optimal_world import market

from rebalancer.planner.optimal.branch import links_of, undecided
from rebalancer.planner.optimal.case import empty
from rebalancer.planner.optimal.charging import IN, OUT, gas_of, of_support
from rebalancer.planner.optimal.graph import lay_out
from rebalancer.planner.optimal.newton import MAX_STEPS, minimise
from rebalancer.planner.optimal.relaxation import first_prices, relax


def with_least_sales(made, dollars):
    least = dollars * 10**8
    assets = tuple(
        replace(a, least_sold=-(-least * a.price_denominator // a.price_numerator))
        for a in made.assets
    )
    return replace(made, assets=assets)


@pytest.mark.parametrize("seed", range(4))
def test_sales_that_jump_from_nothing_to_their_least_do_not_keep_it_going(seed):
    made = market(seed, 60, 120, kappa=0.5)
    found = relax(lay_out(with_least_sales(made, 1_000)))
    assert found.steps < 60
    assert found.upper <= relax(lay_out(made)).upper + 1e-12


@pytest.mark.parametrize("seed", range(4))
def test_what_is_to_be_sold_and_has_no_pool_does_not_keep_it_going(seed):
    made = with_least_sales(market(seed, 20, 40, kappa=0.5, gas=0.5), 100)
    graph = lay_out(made)
    choices = undecided(graph, OUT)
    choices.sale[:, 0] = IN
    case = of_support(graph, gas_of(made, links_of(made, graph)), choices)
    value, steps, _ = minimise(graph, case, 0.0, first_prices(graph), empty(graph), MAX_STEPS)
    assert steps < 40
    assert value < 1.0
