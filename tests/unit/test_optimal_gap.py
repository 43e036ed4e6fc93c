"""How near the best the plans are proved to be: of the markets that the bench runs on."""

from __future__ import annotations

import numpy as np
import pytest
from optimal_world import market

from rebalancer.model import E8
from rebalancer.planner.optimal.branch import Limits, solve
from rebalancer.planner.optimal.case import empty
from rebalancer.planner.optimal.certificate import certificate, plan
from rebalancer.planner.optimal.chains import apart
from rebalancer.planner.optimal.charging import of_support
from rebalancer.planner.optimal.effort import sold_e8, thorough
from rebalancer.planner.optimal.joint import joint_prices
from rebalancer.planner.optimal.newton import minimise
from rebalancer.planner.optimal.relaxation import best_trades, free
from rebalancer.planner.optimal.statement import Statement
from rebalancer.planner.optimal.verify import verify


def instance(seed: int) -> Statement:
    """Eight tokens, twenty pools, gas of $0.15 to $2 per swap."""
    return market(seed, 8, 20, kappa=0.5, gas=0.15 * (2 / 0.15) ** (seed / 39))


@pytest.mark.parametrize("seed", range(40))
def test_a_plan_is_proved_to_one_basis_point_of_what_it_trades(seed: int) -> None:
    planned = thorough(instance(seed))
    assert 0 < planned.gap_e8 * 10_000 <= sold_e8(planned) or planned.gap_e8 == 0
    if seed % 5 == 4:
        assert verify(certificate(planned))["gap_e8"] <= planned.gap_e8 + 10


def test_some_of_these_plans_feed_positions_and_need_the_approvals_decided() -> None:
    fed = approvals = 0
    for seed in (29, 30, 33, 34, 36, 37):
        made = instance(seed)
        answer = solve(made, Limits(gap_e8=E8 // 10))
        items = {node.item for node in _nodes(answer.root)}
        approvals += any(item >= 2 * len(made.pools) + len(made.assets) for item in items)
        fed += bool(answer.fed and answer.fed[0].value >= answer.value)
    assert fed >= 3
    assert approvals >= 3


def _nodes(node):
    yield node
    for part in (node.used, node.unused):
        if part is not None:
            yield from _nodes(part)


def test_at_joint_prices_each_pool_of_a_chain_earns_most_by_what_it_is_paid() -> None:
    chains = 0
    for seed in (33, 34, 36, 37):
        answer = solve(instance(seed), Limits(gap_e8=E8 // 10))
        graph = answer.graph
        for found in answer.fed:
            prices = joint_prices(graph, found)
            own = empty(graph)
            minimise(graph, free(graph), 0.0, prices, own, 0)
            case = of_support(found.graph, found.gas, found.choices)
            joint = apart(graph, best_trades(found.graph, case, found.prices), found.chains)
            ways = [c.ways for c in found.chains]
            middles = [int(graph.token[k, 1 - side]) for way in ways for k, side in way[:-1]]
            ends = [int(graph.token[way[0][0], way[0][1]]) for way in ways]
            ends += [int(graph.token[way[-1][0], 1 - way[-1][1]]) for way in ways]
            if len({*middles, *ends}) < len(middles) + len(set(ends)):
                continue  # a position between two pairs, or at the end of one, has one price only
            for chain in found.chains:
                for k, side in chain.ways:
                    assert own.swap[k, 0] == side
                    assert own.swap[k, 2] == pytest.approx(joint.amount_in[k], rel=1e-6)
                    chains += 1
    assert chains > 5


def test_a_circle_that_cannot_start_is_cut_until_it_can() -> None:
    """Of four pools of one pair two buy what the others sell: more than the wallet holds."""
    made = market(4184, 3, 6, gas=2.18, kappa=0.95, off=0.005)
    planned = plan(made)
    assert planned.circles
    promised = (planned.answer.value - planned.hold_e8 / made.nav_e8) * made.nav_e8
    assert 0.9 * promised < planned.gain_e8 < promised


def test_a_hold_at_first_is_no_reason_to_seek_to_the_last_cent() -> None:
    """The first legs run in a circle: what they would trade says how near is near enough."""
    made = market(6, 20, 100, kappa=0.5, gas=0.15 * (2 / 0.15) ** (6 / 11))
    assert plan(made, Limits(nodes=1)).circles
    planned = thorough(made)
    assert planned.legs
    assert planned.gap_e8 * 10_000 <= sold_e8(planned)


def test_prices_of_a_node_prove_what_they_say() -> None:
    """Each node's own bound, not only the leaves': a tree may be cut anywhere."""
    answer = solve(instance(34), Limits(gap_e8=E8 // 10))
    nodes = list(_nodes(answer.root))
    assert len(nodes) > 5
    for node in nodes:
        assert np.isfinite(node.prices).all()
        assert node.proved <= node.upper
        if node.used is not None and node.unused is not None:
            assert node.proved == max(node.used.proved, node.unused.proved)
