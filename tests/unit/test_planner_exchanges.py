"""What a plan gives of one token for another, whichever way its legs go; ``max_trade`` over it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from planner_world import (
    UNI,
    USDC,
    USDC_WETH,
    WBTC,
    WBTC_WETH,
    WETH,
    decided,
    holding,
    leg,
    pool,
    problem,
    worth,
)

from rebalancer.model import E8, PPM, AddLeg, Rebalance, RemoveLeg
from rebalancer.planner.caps import trades_within_cap
from rebalancer.planner.exchanges import exchanged_e8
from rebalancer.planner.optimal.verify import verify

THIRD = pool(8, USDC, WETH, 30_000_000, amm="cake")
SECOND = pool(7, USDC, WETH, 40_000_000, amm="sushi")
UNI_WETH, USDC_UNI = pool(4, UNI, WETH, 9_000_000), pool(5, USDC, UNI, 9_000_000)
POOLS = (USDC_WETH, SECOND, THIRD, WBTC_WETH, UNI_WETH, USDC_UNI)
AT = holding(700_000, 250_000, 50_000, pairs=POOLS)


def swap(pair, sold, dollars, bought, **more):
    """A leg whose two sides are worth so many dollars."""
    return leg(pair, sold, worth(sold, dollars).raw, worth(bought, dollars).raw, **more)


def given(*legs):
    """Dollars by symbols, as ``WETH>USDC``."""
    return {
        "+".join(t.symbol for t in taken) + ">" + "+".join(t.symbol for t in paid): value // E8
        for (taken, paid), value in exchanged_e8(AT, legs).items()
    }


def test_pools_of_one_pair_are_one_trade():
    legs = [swap(pair, WETH, 20_000, USDC) for pair in (USDC_WETH, SECOND, THIRD)]
    assert given(*legs) == {"WETH>USDC": 60_000}
    both = swap(WBTC_WETH, WETH, 5_000, WBTC)
    assert given(*legs, both) == {"WETH>USDC": 60_000, "WETH>WBTC": 5_000}


def test_what_one_pool_pays_the_next_is_the_first_for_the_last():
    hop = swap(UNI_WETH, WETH, 10_000, UNI), swap(USDC_UNI, UNI, 10_000, USDC, chained=True)
    assert given(*hop, swap(USDC_WETH, WETH, 7_000, USDC)) == {"WETH>USDC": 17_000}


def test_what_passes_through_the_wallet_is_given_in_shares():
    wbtc = swap(pool(6, WBTC, UNI, 9_000_000), WBTC, 30_000, UNI)
    legs = (swap(UNI_WETH, WETH, 10_000, UNI), wbtc, swap(USDC_UNI, UNI, 40_000, USDC))
    assert given(*legs) == {"WETH>USDC": 10_000, "WBTC>USDC": 30_000}


def test_a_token_that_stays_is_what_it_was_bought_for():
    legs = (swap(UNI_WETH, WETH, 10_000, UNI), swap(USDC_UNI, UNI, 4_000, USDC))
    assert given(*legs) == {"WETH>UNI": 10_000, "UNI>USDC": 4_000}


def test_what_was_there_before_and_comes_back_is_lent():
    legs = (swap(USDC_UNI, UNI, 4_000, USDC), swap(UNI_WETH, WETH, 4_000, UNI))
    assert given(*legs) == {"UNI>USDC": 4_000, "WETH>UNI": 4_000}


def test_liquidity_is_a_trade_of_its_own():
    sides = worth(USDC, 3_000).raw, worth(WETH, 3_000).raw
    name = {"pair": USDC_WETH.address, "amm": "uni", "token0": USDC, "token1": WETH}
    shares = USDC_WETH.total_supply // 10_000
    add = AddLeg(**name, amount0=sides[0], amount1=sides[1], shares=shares, min_shares=1)
    gone = RemoveLeg(
        **name, shares=shares, amount0=sides[0], amount1=sides[1], min_amount0=1, min_amount1=1
    )
    share = USDC_WETH.name
    assert given(add) == {f"USDC+WETH>{share}": 6_000}
    (found,) = exchanged_e8(AT, (gone,)).items()
    assert found[0][1] == (USDC, WETH)
    assert found[1] == pytest.approx(10_000 * E8, rel=1e-6)  # of 100 millions
    assert given(gone, swap(SECOND, WETH, 3_000, USDC))["WETH>USDC"] == 3_000


@pytest.mark.parametrize("planner", ["greedy", "optimal"])
def test_max_trade__is_kept_over_all_pools_together(planner):
    at = holding(700_000, 250_000, 50_000, pairs=(USDC_WETH, SECOND, THIRD, WBTC_WETH))
    rules = {"planner": planner, "drift_aversion_ppm": 500_000, "max_trade_e8": 20_000 * E8}
    decision = decided(at, **rules)
    assert isinstance(decision, Rebalance)
    sold = exchanged_e8(at, decision.plan.legs)
    assert 19_990 * E8 < sold[(WETH,), (USDC,)] <= 20_000 * E8
    assert max(sold.values()) <= 20_000 * E8
    assert "max_trade_e8" in {reason.code for reason in decision.limits}
    if planner == "optimal":
        assert verify(decision.plan.certificate)["gap_e8"] > 0


def test_max_trade__the_guard_adds_up_the_legs():
    decision = decided(AT, planner="optimal", drift_aversion_ppm=PPM)
    plan = replace(
        decision.plan, legs=tuple(swap(p, WETH, 20_000, USDC) for p in (USDC_WETH, SECOND))
    )
    (found,) = trades_within_cap(problem(AT, max_trade_e8=39_999 * E8), plan)
    assert (found.code, found.measured, found.limit) == (
        "max_trade_e8", 40_000 * E8, 39_999 * E8,
    )  # fmt: skip
    assert found.text == (
        "The plan gives 40,000.00 USD of WETH for USDC, one trade may be 39,999.00 USD"
    )
    assert not list(trades_within_cap(problem(AT, max_trade_e8=40_000 * E8), plan))
