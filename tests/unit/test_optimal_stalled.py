"""Newton at a kink of the dual: it ends where steps no longer keep what they promise."""

from __future__ import annotations

from dataclasses import replace

import pytest
from optimal_world import market

from rebalancer.planner.optimal.graph import lay_out
from rebalancer.planner.optimal.relaxation import relax


@pytest.mark.parametrize("seed", range(4))
def test_sales_that_jump_from_nothing_to_their_least_do_not_keep_it_going(seed):
    made = market(seed, 60, 120, kappa=0.5)
    sums = 1_000 * 10**8
    assets = tuple(
        replace(a, least_sold=-(-sums * a.price_denominator // a.price_numerator))
        for a in made.assets
    )
    graph = lay_out(replace(made, assets=assets))
    found = relax(graph)
    assert found.steps < 60
    free = relax(lay_out(made))
    assert found.upper <= free.upper + 1e-12
