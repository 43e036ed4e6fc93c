"""Wanted values: shares of what can be traded, fractions, what is held out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from planner_world import (
    TARGETS,
    UNI,
    USDC,
    USDC_WETH,
    WBTC,
    WBTC_WETH,
    WETH,
    holding,
    price,
    problem,
    snapshot,
    worth,
)

from rebalancer.errors import PlanError
from rebalancer.model import E8, PPM, Amount, LpHolding, Target, Token
from rebalancer.planner.bands import drifts
from rebalancer.planner.targets import aims, held_out, spare, stuck_positions


def wanted(made):
    return {aim.token.symbol: aim.wanted_e8 // E8 for aim in made}


NONE: frozenset[Token] = frozenset()


def test_back_to_target():
    at = problem(holding(600_000, 200_000, 200_000))
    assert wanted(aims(at, NONE)) == {"USDC": 250_000, "WBTC": 250_000, "WETH": 500_000}


def test_a_fraction_of_the_way():
    at = problem(holding(600_000, 200_000, 200_000), reset_ppm=400_000)
    assert wanted(aims(at, NONE)) == {"USDC": 220_000, "WBTC": 220_000, "WETH": 560_000}


def test_no_reset_wants_what_is_there():
    at = problem(holding(600_000, 200_000, 200_000), reset_ppm=0)
    assert wanted(aims(at, NONE, 100 * E8)) == {"USDC": 200_000, "WBTC": 200_000, "WETH": 600_000}


@pytest.mark.parametrize("reset_ppm", [PPM, 500_000, 333_333])
def test_the_cost_comes_off_what_is_shared_out(reset_ppm):
    at = problem(holding(600_000, 200_000, 200_000), reset_ppm=reset_ppm)
    total = sum(aim.wanted_e8 for aim in aims(at, NONE, 1_000 * E8))
    assert 999_000 * E8 - 5 <= total <= 999_000 * E8


def lp_portfolio(shares_of=10):
    pair = USDC_WETH
    lp = LpHolding(pair.address, pair.total_supply // shares_of, None)
    targets = (Target("WETH", 300_000), Target("USDC", 100_000), Target("uni:USDC/WETH", 600_000))
    balances = (worth(WETH, 600_000), worth(USDC, 200_000))
    return snapshot(*balances, pairs=(pair, WBTC_WETH), holdings=[lp]), targets


def test_lp_positions_are_held_out_and_the_rest_shares_in_proportion():
    at, targets = lp_portfolio()  # the LP position is worth 10,000,000
    made = aims(problem(at, targets), NONE)
    assert wanted(made) == {"USDC": 200_000, "WETH": 600_000}


def test_an_lp_position_outside_its_band_is_named_and_inside_it_is_not():
    at, targets = lp_portfolio()
    case = problem(at, targets)
    (reason,) = held_out(case, drifts(case.valuation, case.targets, case.policy), NONE)
    assert (reason.code, reason.measured, reason.limit) == ("lp_held_out_ppm", 325_926, 30_000)
    assert "uni:USDC/WETH drifted +32.59 points, its band is 3.00" in reason.text
    wide = problem(at, targets, band_abs_ppm=400_000)
    assert held_out(wide, drifts(wide.valuation, wide.targets, wide.policy), NONE) == ()


def test_a_token_without_a_pool_is_held_out_and_named():
    at = snapshot(worth(WETH, 600_000), worth(USDC, 200_000), worth(UNI, 200_000))
    targets = (Target("WETH", 400_000), Target("USDC", 400_000), Target("UNI", 200_000))
    case = problem(at, targets)
    stuck = stuck_positions(case)
    assert stuck == {UNI}
    assert wanted(aims(case, stuck)) == {"USDC": 400_000, "WETH": 400_000}
    (reason,) = held_out(case, drifts(case.valuation, case.targets, case.policy), stuck)
    assert (reason.code, "UNI (+0.00 points)" in reason.text) == ("no_pool", True)


def test_a_stuck_token_that_is_neither_held_nor_wanted_is_not_worth_a_word():
    at = snapshot(worth(WETH, 600_000), worth(USDC, 200_000), worth(UNI, 0))
    case = problem(at, (Target("WETH", 500_000), Target("USDC", 500_000), Target("UNI", 0)))
    drifted = drifts(case.valuation, case.targets, case.policy)
    assert held_out(case, drifted, stuck_positions(case)) == ()


def test_nothing_to_buy_leaves_everyone_with_what_he_has():
    at, _ = lp_portfolio()
    targets = (Target("WETH", 0), Target("USDC", 0), Target("uni:USDC/WETH", PPM))
    assert wanted(aims(problem(at, targets), NONE)) == {"USDC": 200_000, "WETH": 600_000}


def test_a_zero_target_is_spared_to_the_last_wei():
    balances = (worth(WETH, 500_000), Amount(UNI, 10**18 + 1), worth(USDC, 500_000))
    targets = (Target("WETH", 500_000), Target("USDC", 500_000), Target("UNI", 0))
    made = {aim.token: aim for aim in aims(problem(snapshot(*balances), targets), NONE)}
    case = problem(snapshot(*balances), targets)
    assert spare(case, made[UNI]) == Amount(UNI, 10**18 + 1)


def test_what_is_kept_is_worth_at_least_what_is_wanted():
    at = holding(600_000, 200_001, 199_999)
    odd = replace(price(WETH), numerator=1_999 * E8 + 7)
    at = replace(at, prices=(odd, *at.prices[1:]))
    case = problem(at)
    by_token = {aim.token: aim for aim in aims(case, NONE)}
    aim = by_token[WETH]
    kept = aim.held - spare(case, aim).raw
    assert case.snapshot.price(WETH).value_down(kept) >= aim.wanted_e8
    assert case.snapshot.price(WETH).value_down(kept - 1) < aim.wanted_e8
    assert spare(case, by_token[WBTC]) == Amount(WBTC, 0)
    assert spare(case, by_token[USDC]) == Amount(USDC, 0)


def test_a_target_that_the_snapshot_does_not_know_is_refused():
    at = holding()
    with pytest.raises(PlanError, match="AAVE has a target, but the snapshot holds no such token"):
        aims(problem(at, (*TARGETS, Target("AAVE", 0))), NONE)


def test_two_tokens_of_one_name_are_refused():
    twin = Token("0x00000000000000000000000000000000000000AA", "WETH", 18)
    at = snapshot(worth(WETH, 1), Amount(twin, 1), worth(USDC, 1), worth(WBTC, 1))
    with pytest.raises(PlanError, match="two tokens are called WETH"):
        aims(problem(at), NONE)
