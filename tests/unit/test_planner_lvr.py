"""Loss versus rebalancing: the formula, against what it is derived from, and who is told."""

from __future__ import annotations

from dataclasses import replace
from math import exp, sqrt
from random import Random

import pytest
from planner_world import POLICY, TARGETS, USDC_WETH, WBTC_USDC, WBTC_WETH, holding

from rebalancer.model import PPM, LpHolding, Target
from rebalancer.planner.explain import drifting, told
from rebalancer.planner.inputs import Inputs
from rebalancer.planner.lvr import BLOCK_S, after_fee_ppm, lvr_ppm
from rebalancer.planner.volatility import YEAR_S

LP = USDC_WETH.name
MIXED = (Target("WETH", 400_000), Target("USDC", 300_000), Target(LP, 300_000))


def inputs(volatility_ppm: int | None, shares: int = USDC_WETH.total_supply // 500) -> Inputs:
    lp = LpHolding(USDC_WETH.address, shares, None)
    at = holding(holdings=(lp,), pairs=(USDC_WETH, WBTC_WETH, WBTC_USDC))
    return Inputs(at, MIXED, replace(POLICY, volatility_ppm=volatility_ppm), None)


@pytest.mark.parametrize("sigma", [0.1, 0.7, 1.5])
def test_it_is_what_one_step_costs_against_a_portfolio_that_does_not_lag(sigma: float) -> None:
    """The price goes up or down by ``h``, worth nothing on average; the pool loses each time.

    It is worth ``2 sqrt(k p)``; who holds its tokens from before has lost nothing on average.
    """
    step = 1e-6  # of a year
    h = sigma * sqrt(step)
    lost = 1 - (sqrt(1 + h) + sqrt(1 - h)) / 2
    assert lvr_ppm(round(sigma * PPM)) / PPM == pytest.approx(lost / step, rel=1e-3)


@pytest.mark.parametrize(("sigma", "fee"), [(0.7, 0.003), (0.7, 0.0005), (1.5, 0.003)])
def test_what_arbitrage_takes_with_a_fee_is_what_a_simulation_finds(
    sigma: float, fee: float
) -> None:
    """Blocks come at random; who finds the pool further off than its fee brings it back to there.

    He earns ``integral (P - p e^fee) dx`` from the pool's price to ``P e^-fee``, of a pool worth 1.
    """
    random, off, taken, years = Random(7), 0.0, 0.0, 0.0  # noqa: S311
    for _ in range(150_000):
        wait = random.expovariate(YEAR_S / BLOCK_S)
        years += wait
        off += sigma * sqrt(wait) * random.gauss(0, 1)
        beyond = abs(off) - fee
        if beyond > 0:
            taken += (exp(beyond / 2) + exp(-beyond / 2) - 2) / 2
            off = fee if off > 0 else -fee
    expected = after_fee_ppm(round(sigma * PPM), round(fee * PPM)) / PPM
    assert taken / years == pytest.approx(expected, rel=0.06)


def test_its_limits() -> None:
    assert (lvr_ppm(700_000), after_fee_ppm(700_000, 3_000)) == (61_250, 5_656)
    assert after_fee_ppm(700_000, 0) == lvr_ppm(700_000)
    assert (lvr_ppm(0), after_fee_ppm(0, 3_000), after_fee_ppm(0, 0)) == (0, 0, 0)
    fees = [after_fee_ppm(700_000, fee) for fee in (0, 100, 3_000, 10_000, 500_000)]
    assert fees == sorted(fees, reverse=True)


def test_plan_tells_it_of_each_lp_position() -> None:
    asked = inputs(700_000)
    (lvr,) = drifting(asked).losses
    assert (lvr.name, lvr.lvr_ppm, lvr.after_fee_ppm) == (LP, 61_250, 5_656)
    assert lvr.value_e8 == asked.decide()[0].position(LP).value_e8
    line = told(drifting(asked), "USD")[-1]
    assert line.startswith(
        f"{LP} is expected to lose 6.12% a year against rebalancing without fees"
    )
    assert "12,249.99 USD (LVR, volatility 70.00% by policy.volatility)" in line  # of 200,000
    assert "arbitrage takes 0.57% of it, 1,131.19 USD, beyond the fee of 0.30%" in line


@pytest.mark.parametrize("measured", [False, True])
def test_a_covariance_says_how_the_two_move_against_each_other(measured: bool) -> None:
    """80 % and 5 % with a correlation of -0.25: more than either, and not what the file says."""
    asked = inputs(700_000)
    policy = replace(
        asked.policy,
        risk_volatilities=(("USDC", 50_000), ("WETH", 800_000)),
        risk_correlations=(("USDC", "WETH", -250_000),),
    )
    past = asked.circumstances
    if measured:
        own = (("USDC", "USDC", 10**16), ("USDC", "WETH", 0), ("WETH", "WETH", 10**16))
        past = replace(past, covariances=own)
        policy = replace(policy, risk_half_life_s=86_400)
    (lvr,) = drifting(replace(asked, policy=policy, circumstances=past)).losses
    sigma = sqrt(0.02) if measured else sqrt(0.8**2 + 0.05**2 + 2 * 0.25 * 0.8 * 0.05)
    assert lvr.volatility_ppm == int(sigma * PPM)
    assert lvr.lvr_ppm == pytest.approx(sigma**2 / 8 * PPM, abs=2)
    assert lvr.source == ("measured" if measured else "by policy.risk")


def test_nothing_is_told_where_nothing_is_known_or_held() -> None:
    assert drifting(inputs(None)).losses == ()
    assert drifting(inputs(0)).losses == ()
    assert drifting(inputs(700_000, shares=0)).losses == ()
    plain = Inputs(holding(), TARGETS, replace(POLICY, volatility_ppm=700_000), None)
    assert drifting(plain).losses == ()


def test_it_decides_nothing() -> None:
    with_it, without = inputs(700_000).decide()[1], inputs(None).decide()[1]
    assert with_it.plan.legs == without.plan.legs
