"""Matching: largest first, sized to the deficit, cut by limits, dust taken along."""

from __future__ import annotations

from dataclasses import replace

import pytest
from planner_world import (
    TARGETS,
    UNI,
    USDC,
    USDC_WETH,
    WBTC,
    WBTC_USDC,
    WBTC_WETH,
    WETH,
    holding,
    pool,
    problem,
    snapshot,
    worth,
)

from rebalancer.model import E8, PPM, Amount, Target
from rebalancer.planner.greedy import GreedyProposer
from rebalancer.planner.market import open_market
from rebalancer.planner.targets import aims
from rebalancer.planner.trades import MAX_LEGS, match


def matched(case, cost_e8=0):
    market, _ = open_market(case.snapshot, case.policy)
    return match(case, market, aims(case, frozenset(), cost_e8))


def way(trade):
    return [leg.token_in.symbol for leg in trade] + [trade[-1].token_out.symbol]


def value_e8(case, token, raw):
    return case.snapshot.price(token).value_down(raw)


def test_the_largest_excess_fills_the_largest_deficit_first():
    case = problem(holding(700_000, 120_000, 180_000))
    found = matched(case)
    assert [way(trade) for trade in found.trades] == [["WETH", "WBTC"], ["WETH", "USDC"]]
    first, second = found.trades
    bought = value_e8(case, WBTC, first[-1].amount_out)
    assert 130_000 * E8 <= bought < 130_000 * E8 + case.snapshot.price(WBTC).value_up(1)
    assert value_e8(case, WETH, first[0].amount_in) > bought  # grossed up for fee and impact
    assert first[0].amount_in + second[0].amount_in == worth(WETH, 200_000).raw
    assert found.limits == ()


def test_several_sellers_for_one_buyer():
    case = problem(holding(300_000, 380_000, 320_000), max_impact_ppm=PPM)
    assert [way(trade) for trade in matched(case).trades] == [["WBTC", "WETH"], ["USDC", "WETH"]]


def test_nothing_below_the_minimum_trade():
    case = problem(holding(500_180, 249_901, 249_919), dead_band_ppm=0)
    found = matched(case)
    assert found.trades == ()
    assert [(r.code, r.measured, r.limit) for r in found.limits] == [
        ("min_trade_e8", 99 * E8, 100 * E8),
        ("min_trade_e8", 81 * E8, 100 * E8),
    ]
    assert found.limits[0].text == "WBTC stays 99.00 USD off: the smallest trade is 100.00 USD"
    exact = matched(problem(holding(500_202, 249_899, 249_899), dead_band_ppm=0))
    assert [way(trade) for trade in exact.trades] == [["WETH", "WBTC"], ["WETH", "USDC"]]


def test_what_stays_off_within_the_dead_band_is_not_named():
    case = problem(holding(500_180, 249_901, 249_919))
    assert matched(case).limits == ()


def test_the_impact_limit_cuts_and_is_named():
    shallow = pool(1, USDC, WETH, 1_000_000)
    targets = (Target("WETH", 500_000), Target("USDC", 500_000))
    at = snapshot(worth(WETH, 700_000), worth(USDC, 300_000), pairs=[shallow])
    case = problem(at, targets)
    found = matched(case)
    (trade,) = found.trades
    sold = value_e8(case, WETH, trade[0].amount_in)
    assert 10_131 * E8 < sold < 10_132 * E8  # 1,000,000 / 99 / 0.997
    (limit,) = found.limits
    assert (limit.code, limit.limit) == ("max_impact_ppm", 10_000)
    assert limit.measured > 10_000
    assert limit.text.startswith("189,868.59 USD of WETH is left unsold for USDC: it would move")


def test_the_rest_of_a_cut_trade_goes_through_other_pools():
    first = pool(1, USDC, WETH, 1_000_000)
    second = pool(2, USDC, WETH, 700_000, amm="sushi")
    targets = (Target("WETH", 500_000), Target("USDC", 500_000))
    at = snapshot(worth(WETH, 512_000), worth(USDC, 488_000), pairs=[first, second])
    found = matched(problem(at, targets))
    assert [trade[0].pair for trade in found.trades] == [first.address, second.address]
    assert found.limits == ()


def test_no_route_is_named():
    island = pool(8, UNI, WBTC, 50_000_000)
    targets = (*(Target(t, 250_000) for t in ("WETH", "USDC", "UNI", "WBTC")),)
    balances = [
        worth(WETH, 300_000),
        worth(USDC, 300_000),
        worth(UNI, 100_000),
        worth(WBTC, 100_000),
    ]
    case = problem(snapshot(*balances, pairs=[USDC_WETH, island]), targets)
    found = matched(case)
    assert found.trades == ()
    assert {reason.code for reason in found.limits} == {"no_route"}
    assert found.limits[0].text == "100,000.00 USD of WETH finds no usable route to WBTC"


def test_a_zero_target_is_sold_to_the_last_wei_when_the_rest_could_not_be():
    # 1,050 dollars: 1,000 go to WETH, and the 50 that USDC lacks are too few for a trade.
    at = snapshot(
        worth(WETH, 499_000),
        worth(USDC, 499_950),
        Amount(UNI, 210 * 10**18 + 7),
        pairs=[USDC_WETH, pool(8, USDC, UNI, 5_000_000)],
    )
    targets = (Target("WETH", 500_000), Target("USDC", 500_000), Target("UNI", 0))
    found = matched(problem(at, targets))
    assert sum(t[0].amount_in for t in found.trades if t[0].token_in == UNI) == 210 * 10**18 + 7


def test_zero_target_dust_below_the_minimum_trade_is_left():
    at = snapshot(
        worth(WETH, 500_000),
        worth(USDC, 400_000),
        Amount(UNI, 19 * 10**18),
        pairs=[USDC_WETH, pool(8, USDC, UNI, 5_000_000)],
    )
    targets = (Target("WETH", 500_000), Target("USDC", 500_000), Target("UNI", 0))
    assert UNI not in {leg.token_in for leg in matched(problem(at, targets)).legs}


def test_a_pool_above_the_oracle_still_gets_the_minimum_trade():
    generous = pool(1, WETH, USDC, 50_000_000, skew_ppm=19_000)
    targets = (Target("WETH", 500_000), Target("USDC", 500_000))
    at = snapshot(worth(WETH, 500_100), worth(USDC, 499_900), pairs=[generous])
    case = problem(at, targets)
    (trade,) = matched(case).trades
    assert value_e8(case, WETH, trade[0].amount_in) == 100 * E8


def test_a_batch_takes_so_many_legs():
    # 40 pools of which each takes a little more than the minimum trade.
    crowd = [pool(i, USDC, WETH, 20_000, amm=f"amm{i}") for i in range(40)]
    targets = (Target("WETH", 500_000), Target("USDC", 500_000))
    at = snapshot(worth(WETH, 700_000), worth(USDC, 300_000), pairs=crowd)
    found = matched(problem(at, targets))
    assert len(found.legs) == MAX_LEGS - 1
    (limit,) = found.limits
    assert (limit.code, limit.limit) == ("max_legs", MAX_LEGS)


def test_trades_are_sized_so_that_the_targets_hold_after_the_costs():
    case = problem(holding(700_000, 120_000, 180_000))
    legs = GreedyProposer().propose(case).legs
    held = {a.token: a.raw for a in case.snapshot.balances}
    for leg in legs:
        held[leg.token_in] -= leg.amount_in
        held[leg.token_out] += leg.amount_out
    after = {token: value_e8(case, token, raw) for token, raw in held.items()}
    nav = sum(after.values())
    assert nav < 1_000_000 * E8 - 600 * E8
    for token, weight in ((WETH, 500_000), (WBTC, 250_000), (USDC, 250_000)):
        off_ppm = abs(after[token] * PPM - weight * nav) / nav
        assert off_ppm < 1


@pytest.mark.parametrize(("gas_gwei", "trades"), [(2, 2), (90, 1)])
def test_a_trade_that_costs_more_than_it_mends_is_left_out(gas_gwei, trades):
    # At 90 gwei a swap costs 11 dollars; the second mends a drift of 0.7 points of 60,000.
    at = snapshot(
        worth(WETH, 34_000),
        worth(USDC, 11_400),
        worth(WBTC, 14_600),
        pairs=[USDC_WETH, WBTC_WETH],
        gas_gwei=gas_gwei,
    )
    case = problem(at, TARGETS, drift_aversion_ppm=PPM)
    proposal = GreedyProposer().propose(case)
    assert sum(not leg.chained for leg in proposal.legs) == trades
    left_out = [limit for limit in proposal.limits if limit.code == "not_worth_it_e8"]
    assert len(left_out) == 2 - trades
    for limit in left_out:
        assert limit.measured > limit.limit
        assert limit.text.startswith("Left out the smallest trade: ")


def test_the_shallow_pool_is_used_for_little_and_the_detour_for_much():
    pairs = [USDC_WETH, WBTC_WETH, WBTC_USDC]
    targets = (Target("WBTC", 500_000), Target("USDC", 500_000))
    little = snapshot(worth(WBTC, 10_300), worth(USDC, 9_700), pairs=pairs)
    much = snapshot(worth(WBTC, 600_000), worth(USDC, 400_000), pairs=pairs)
    assert [way(t) for t in matched(problem(little, targets)).trades] == [["WBTC", "USDC"]]
    assert [way(t) for t in matched(problem(much, targets)).trades] == [["WBTC", "WETH", "USDC"]]


def test_the_proposal_is_a_function_of_the_problem():
    case = problem(holding(700_000, 120_000, 180_000))
    turned = replace(case, snapshot=replace(case.snapshot, pairs=case.snapshot.pairs[::-1]))
    assert GreedyProposer().propose(case) == GreedyProposer().propose(turned)
