"""Routes over the pools as earlier legs leave them, the impact limit, and pools left out."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from planner_world import (
    POLICY,
    UNI,
    USDC,
    USDC_WETH,
    WBTC,
    WBTC_USDC,
    WBTC_WETH,
    WETH,
    holding,
    leg,
    pool,
    problem,
    snapshot,
    worth,
)

from rebalancer.amm.swap import UINT112_MAX, get_amount_out
from rebalancer.planner.market import (
    Route,
    hop_impact_ppm,
    off_oracle_ppm,
    open_market,
)
from rebalancer.planner.routes import (
    Sized,
    best_route,
    min_amount_out,
    roomiest_route,
    route_legs,
    routes,
    stuck_tokens,
)

SUSHI = pool(4, WBTC, USDC, 200_000, amm="sushi")


def market_of(*pairs):
    at = snapshot(worth(WETH, 1), pairs=pairs)
    return open_market(at, POLICY)[0]


def addresses(found):
    return [route.pairs for route in found]


def test_direct_and_two_hop_routes_over_every_amm():
    market = market_of(SUSHI, WBTC_USDC, WBTC_WETH, USDC_WETH)
    assert addresses(routes(market, WBTC, USDC)) == [
        (WBTC_USDC.address,),
        (SUSHI.address,),
        (WBTC_WETH.address, USDC_WETH.address),
    ]
    two_hops = routes(market, WBTC, USDC)[2]
    assert two_hops.tokens == (WBTC, WETH, USDC)
    assert addresses(routes(market, WBTC, WETH)) == [
        (WBTC_WETH.address,),
        (WBTC_USDC.address, USDC_WETH.address),
        (SUSHI.address, USDC_WETH.address),
    ]
    assert routes(market, WBTC, UNI) == ()


def test_tokens_of_separate_pools_are_stuck():
    market = market_of(WBTC_WETH)
    assert stuck_tokens(market, [WETH, WBTC, USDC]) == {USDC}
    assert stuck_tokens(market, [WETH, USDC]) == {WETH, USDC}


def test_amounts_are_those_of_the_pools():
    market = market_of(WBTC_WETH, USDC_WETH)
    (route,) = routes(market, WBTC, USDC)
    sold, weth, usdc = market.amounts(route, 10**8)
    reserve0, reserve1 = WBTC_WETH.reserve0, WBTC_WETH.reserve1
    assert weth == get_amount_out(sold, reserve0, reserve1, 3_000)
    assert usdc == get_amount_out(weth, USDC_WETH.reserve1, USDC_WETH.reserve0, 3_000)


def test_the_best_route_is_the_deep_one_even_over_two_hops():
    case = problem(holding())
    market, _ = open_market(case.snapshot, replace(POLICY, max_impact_ppm=10**6))
    case = replace(case, policy=replace(POLICY, max_impact_ppm=10**6))
    choice = routes(market, WBTC, USDC)
    big, small = worth(WBTC, 50_000).raw, worth(WBTC, 300).raw
    assert best_route(case, market, (), choice, big) == choice[1]
    assert len(choice[1].pairs) == 2
    assert best_route(case, market, (), choice, small) == choice[0]


def test_a_second_hop_must_earn_its_gas():
    # Worth 7,000 the deep detour pays 206 dollars more than the shallow pool; a hop is 55k gas.
    for gas_gwei, hops in ((10, 2), (4_000, 1)):
        case = problem(holding(gas_gwei=gas_gwei), max_impact_ppm=10**6)
        market, _ = open_market(case.snapshot, case.policy)
        choice = routes(market, WBTC, USDC)
        route = best_route(case, market, (), choice, worth(WBTC, 7_000).raw)
        assert route is not None
        assert len(route.pairs) == hops


def test_equal_routes_are_told_apart_by_address_not_by_order():
    case = problem(holding(pairs=(WBTC_USDC, SUSHI)))
    for pairs in ((WBTC_USDC, SUSHI), (SUSHI, WBTC_USDC)):
        market = market_of(*pairs)
        route = best_route(case, market, (), routes(market, WBTC, USDC), 10**5)
        assert route == Route((WBTC_USDC.address,), (WBTC, USDC))


def test_a_route_beyond_the_impact_limit_is_not_chosen_but_cut():
    case = problem(holding(pairs=(WBTC_USDC, SUSHI)))
    market, _ = open_market(case.snapshot, case.policy)
    choice = routes(market, WBTC, USDC)
    size = worth(WBTC, 50_000).raw
    assert best_route(case, market, (), choice, size) is None
    cut = roomiest_route(case, market, choice, size)
    assert cut is not None
    assert cut.route == choice[0]
    assert market.impact_ppm(cut.route, cut.amount_in) <= 10_000
    assert market.impact_ppm(cut.route, cut.amount_in + 1) > 10_000
    # a / (R + a) <= 1 % of 200,000 dollars: a = R / 99 after a fee of 0.3 %
    assert worth(WBTC, 2_026).raw < cut.amount_in < worth(WBTC, 2_027).raw


def test_a_pool_that_buys_nothing_is_no_route():
    dust = pool(9, WBTC, USDC, 200_000)
    dust = replace(dust, reserve1=dust.reserve1 // 10**6, reserve0=dust.reserve0 // 10**6)
    case = problem(holding(), max_impact_ppm=10**6)
    market = market_of(dust)
    choice = routes(market, USDC, WBTC)
    assert market.amounts(choice[0], 300)[-1] == 0
    assert best_route(case, market, (), choice, 300) is None
    assert roomiest_route(case, market, choice, 300) is None


def test_a_pool_that_would_overflow_does_not_fit():
    full = replace(WBTC_USDC, reserve0=UINT112_MAX - 5, reserve1=UINT112_MAX)
    market = replace(market_of(WBTC_USDC), now={full.address: full}, start={full.address: full})
    (route,) = routes(market, WBTC, USDC)
    assert market.capacity(route, 10_000) == 5


def test_impact_counts_what_earlier_legs_moved():
    market = market_of(WBTC_USDC)
    (route,) = routes(market, WBTC, USDC)
    case = problem(holding())
    half = worth(WBTC, 1_000).raw
    alone = market.impact_ppm(route, half)
    later = market.after(route_legs(case, market, Sized(route, half)))
    assert alone == 4_961  # 997 / 200,997, rounded up
    # The first thousand moves the marginal price by about twice its own average.
    assert later.impact_ppm(route, half) > 2.9 * alone
    assert later.impact_ppm(route, 0) > 1.9 * alone
    (back,) = routes(market, USDC, WBTC)
    assert later.impact_ppm(back, 0) < 0


@pytest.mark.parametrize("amount_in", [1, 10**3, 10**6, 10**9])
def test_hop_impact_is_the_exact_ratio_rounded_up(amount_in):
    now = replace(WBTC_USDC, reserve0=WBTC_USDC.reserve0 * 101 // 100)
    paid = Fraction(amount_in * 997, 1_000)
    exact = 1 - Fraction(now.reserve1) / (now.reserve0 + paid) * Fraction(
        WBTC_USDC.reserve0, WBTC_USDC.reserve1
    )
    impact = hop_impact_ppm(WBTC_USDC, now, WBTC, amount_in)
    assert impact - 1 < exact * 10**6 <= impact


@pytest.mark.parametrize(
    ("skew_ppm", "gap"), [(0, 0), (20_000, 20_000), (-20_000, 20_409), (1, 1), (1_000_000, 10**6)]
)
def test_the_gap_to_the_oracle_is_of_the_cheaper_side(skew_ppm, gap):
    at = snapshot(worth(WETH, 1))
    skewed = pool(1, USDC, WETH, 50_000_000, skew_ppm=skew_ppm)
    turned = replace(
        skewed, token0=WETH, token1=USDC, reserve0=skewed.reserve1, reserve1=skewed.reserve0
    )
    assert off_oracle_ppm(at, skewed) == off_oracle_ppm(at, turned) == gap


def test_pools_off_the_oracle_empty_or_without_a_price_are_left_out_and_named():
    stale = pool(1, USDC, WETH, 50_000_000, skew_ppm=20_001)
    edge = pool(2, WBTC, WETH, 50_000_000, skew_ppm=20_000)
    empty = replace(WBTC_USDC, reserve1=0)
    priceless = pool(7, USDC, UNI, 1_000)
    at = snapshot(worth(WETH, 1), pairs=(priceless, empty, edge, stale))
    at = replace(at, prices=tuple(p for p in at.prices if p.token != UNI))
    market, reasons = open_market(at, POLICY)
    assert list(market.now) == [edge.address]
    assert [(r.code, r.measured, r.limit) for r in reasons] == [
        ("off_oracle_ppm", 20_001, 20_000),
        ("pool_empty", None, None),
        ("no_price", None, None),
    ]
    assert reasons[0].text == (
        "uni:USDC/WETH is not used: its price is 2.0001% from the oracle's, allowed is 2.0000%"
    )


def test_route_legs_are_chained_and_carry_exact_and_least_outputs():
    case = problem(holding())
    market, _ = open_market(case.snapshot, case.policy)
    route = Route((WBTC_WETH.address, USDC_WETH.address), (WBTC, WETH, USDC))
    amounts = market.amounts(route, 10**7)
    assert route_legs(case, market, Sized(route, 10**7)) == (
        leg(WBTC_WETH, WBTC, amounts[0], amounts[1]),
        leg(USDC_WETH, WETH, amounts[1], amounts[2], chained=True),
    )


@pytest.mark.parametrize(
    ("amount_out", "slippage", "least"),
    [(1_000, 5_000, 995), (1_001, 5_000, 996), (1, 5_000, 1), (1_000, 0, 1_000), (7, 10**6, 0)],
)
def test_least_output_is_rounded_up(amount_out, slippage, least):
    assert min_amount_out(amount_out, slippage) == least
