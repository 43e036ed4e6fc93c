"""Costs by component against numbers worked out by hand; benefit; gas; the cost gate."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from planner_world import (
    GWEI,
    POLICY,
    USDC,
    USDC_WETH,
    WBTC,
    WBTC_WETH,
    WETH,
    holding,
    leg,
    pool,
    problem,
    snapshot,
    worth,
)

from rebalancer.amm.swap import get_amount_out
from rebalancer.amm.valuation import value
from rebalancer.model import E8, PPM, LpHolding, Target
from rebalancer.planner.benefit import benefit_e8, penalty_down_e8, penalty_up_e8
from rebalancer.planner.costs import Appraisal, appraise, cost_gate, cost_share_ppm
from rebalancer.planner.gas_schedule import PRAGUE

TARGETS = (Target("WETH", 500_000), Target("USDC", 500_000))


def swap(pair, token_in, amount_in, **more):
    reserves = pair.reserves(token_in)
    return leg(
        pair, token_in, amount_in, get_amount_out(amount_in, *reserves, pair.fee_ppm), **more
    )


def test_costs_of_one_leg():
    # A pool of 1,000,000 and 1,010,000 dollars; 10,000 dollars of WETH (5 WETH) are sold.
    pair = pool(1, WETH, USDC, 1_000_000, skew_ppm=10_000)
    at = snapshot(worth(WETH, 60_000), worth(USDC, 40_000), pairs=[pair], gas_gwei=25)
    made = appraise(problem(at, TARGETS), [swap(pair, WETH, 5 * 10**18)])
    # 5 * 0.997 * 1,010,000 / (500 + 5 * 0.997) = 9,970.296147... USDC, floored to 6 decimals
    assert [a.raw for a in made.net] == [-5 * 10**18, 9_970_296_147]
    costs = made.costs
    assert costs.traded_e8 == 10_000 * E8
    assert costs.off_oracle_e8 == -100 * E8  # at spot the pool would pay 10,100
    assert costs.fee_e8 == 30_30000000  # 0.3 % of that
    assert costs.impact_e8 == (10_000 - 30) * E8 + 99_70000000 - 9_970_29614700
    assert costs.gas_units == 25_388 + 54_437 + 2 * 7_300 + 46_162
    assert costs.gas_price_wei == 25 * GWEI
    assert costs.gas_e8 == 702935000  # 140,587 gas * 25 gwei * 2,000 dollars
    assert costs.total_e8 == 10_000 * E8 - 9_970_29614700 + costs.gas_e8
    assert made.gate_cost_e8 == costs.total_e8 + 100 * E8  # the pool's gift pays for nothing
    assert made.gain_e8 == made.benefit_e8 - made.gate_cost_e8


def test_an_intermediate_is_not_traded_value():
    first = swap(WBTC_WETH, WBTC, 10**7)
    second = swap(USDC_WETH, WETH, first.amount_out, chained=True)
    made = appraise(problem(holding()), [first, second])
    assert made.costs.traded_e8 == 4_000 * E8
    assert [a.token for a in made.net] == [WBTC, USDC]
    assert made.costs.gas_units == 25_388 + 2 * 54_437 + 3 * 7_300 + 46_162 - 10_711


def test_the_wallets_own_lp_earns_its_share_of_the_fee():
    pair = pool(1, WETH, USDC, 1_000_000)
    lp = LpHolding(pair.address, pair.total_supply // 2, None)
    targets = (*TARGETS[:1], Target("USDC", 100_000), Target("uni:WETH/USDC", 400_000))
    at = snapshot(worth(WETH, 60_000), worth(USDC, 40_000), pairs=[pair], holdings=[lp])
    case = problem(at, targets)
    made = appraise(case, [swap(pair, WETH, 5 * 10**18)])
    lost = made.costs.total_e8 - made.costs.gas_e8
    name = "uni:WETH/USDC"
    earned = made.after.position(name).value_e8 - case.valuation.position(name).value_e8
    assert 14_50000000 < earned < 15 * E8  # about half of the 30 dollars
    assert case.valuation.nav_e8 - made.after.nav_e8 == lost - earned


def test_penalty_by_hand():
    at = value(snapshot(worth(WETH, 60_000), worth(USDC, 40_000)), TARGETS)
    # 0.25 / 2 * 100,000 * (0.1^2 + 0.1^2)
    assert penalty_down_e8(at, 250_000) == penalty_up_e8(at, 250_000) == 250 * E8
    even = value(snapshot(worth(WETH, 50_000), worth(USDC, 50_000)), TARGETS)
    assert benefit_e8(at, even, 250_000) == 250 * E8
    assert benefit_e8(even, at, 250_000) == -250 * E8


def test_benefit_is_rounded_against_the_plan():
    at = value(snapshot(worth(WETH, 60_002), worth(USDC, 40_001)), TARGETS)
    assert penalty_up_e8(at, 333_333) == penalty_down_e8(at, 333_333) + 1
    assert benefit_e8(at, at, 333_333) == -1


def test_gas_is_what_the_executor_was_measured_to_use():
    snapshot_file = Path(__file__).parents[1] / "contracts" / "gas_snapshot.json"
    measured = json.loads(snapshot_file.read_text())
    one = leg(USDC_WETH, WETH, 1, 1)
    buys = [
        replace(one, pair=f"0x{i:040x}", token_out=replace(USDC, address=f"0x{i:040x}"))
        for i in range(5)
    ]
    route = (one, replace(leg(WBTC_WETH, WETH, 1, 1), token_in=USDC, chained=True))
    for n in (2, 3, 5):
        expected = PRAGUE.units(buys[:n]) - PRAGUE.per_approval
        assert abs(expected - measured[f"executor: {n} swaps"]) <= 20, n
    # One route goes another way, for less than is expected: never for more.
    for name, legs in (("1 swaps", buys[:1]), ("2 hops", route)):
        expected = PRAGUE.units(legs) - PRAGUE.per_approval
        assert 2_000 <= expected - measured[f"executor: {name}"] <= 2_300, name
    # Of the eight, three sell what others buy and two of them in a pool that was used before.
    back = [replace(b, token_in=b.token_out, token_out=WETH) for b in buys[2:4]]
    across = replace(buys[0], pair="0x" + "9" * 40, token_in=buys[1].token_out)
    expected = PRAGUE.units([*buys, across, *back]) - 4 * PRAGUE.per_approval
    assert abs(expected - measured["executor: 8 swaps"]) <= 800


def test_gas_of_nothing_is_nothing_and_each_sold_token_is_approved_once():
    assert PRAGUE.units([]) == 0
    twice = [leg(USDC_WETH, WETH, 1, 1), leg(WBTC_WETH, WETH, 1, 1)]
    two = [leg(USDC_WETH, WETH, 1, 1), leg(WBTC_WETH, WBTC, 1, 1)]
    assert PRAGUE.units(two) - PRAGUE.units(twice) == PRAGUE.per_approval


@pytest.fixture
def appraisal() -> Appraisal:
    """Costs 30 dollars of 10,000 traded, worth 100."""
    case = problem(holding())
    made = appraise(case, [swap(USDC_WETH, WETH, 5 * 10**18)])
    costs = replace(made.costs, traded_e8=10_000 * E8, total_e8=30 * E8, off_oracle_e8=0)
    return replace(made, costs=costs, benefit_e8=100 * E8)


@pytest.mark.parametrize(
    ("benefit", "max_cost_ppm", "codes"),
    [
        (30 * E8 + 1, 3_000, []),
        (30 * E8, 3_000, ["cost_above_benefit_e8"]),
        (30 * E8 + 1, 2_999, ["max_cost_ppm"]),
        (-5, 2_999, ["cost_above_benefit_e8", "max_cost_ppm"]),
    ],
)
def test_the_gate(appraisal, benefit, max_cost_ppm, codes):
    case = replace(problem(holding()), policy=replace(POLICY, max_cost_ppm=max_cost_ppm))
    reasons = cost_gate(case, replace(appraisal, benefit_e8=benefit))
    assert [reason.code for reason in reasons] == codes


def test_the_gate_gives_both_numbers(appraisal):
    case = replace(problem(holding()), policy=replace(POLICY, max_cost_ppm=2_000))
    worth_it, share = cost_gate(case, replace(appraisal, benefit_e8=12 * E8))
    assert (worth_it.measured, worth_it.limit) == (30 * E8, 12 * E8)
    assert worth_it.text.startswith("Rebalancing would cost 30.00 USD (")
    assert worth_it.text.endswith("and the drift penalty that it removes is 12.00 USD")
    assert (share.measured, share.limit) == (3_000, 2_000)
    assert share.text == (
        "Rebalancing would cost 30.00 USD, 0.30% of the 10,000.00 USD traded; allowed is 0.20%"
    )


def test_a_gift_of_a_stale_pool_does_not_open_the_gate(appraisal):
    costs = replace(appraisal.costs, off_oracle_e8=-90 * E8, total_e8=-60 * E8)
    stale = replace(appraisal, costs=costs, benefit_e8=20 * E8)
    (reason,) = cost_gate(problem(holding()), stale)
    assert (reason.code, reason.measured) == ("cost_above_benefit_e8", 30 * E8)


@pytest.mark.parametrize(
    ("cost", "traded", "share"),
    [(1, 3, 333_334), (0, 5, 0), (5, 0, PPM), (0, 0, 0), (-1, 0, 0), (-1, 3, -333_333)],
)
def test_cost_share(cost, traded, share):
    assert cost_share_ppm(cost, traded) == share


def test_gas_is_valued_upwards():
    case = problem(holding())
    native = replace(case.snapshot.native, denominator=10**18 + 1)
    case = replace(case, snapshot=replace(case.snapshot, native=native))
    assert case.gas_value_e8(100_000) == 2 * E8  # 1.99... rounded up
