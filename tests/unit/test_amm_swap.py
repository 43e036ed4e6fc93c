"""Swaps: published numbers, refusals, and the parts of a price."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from rebalancer.amm import (
    UINT112_MAX,
    amount_out_at_spot,
    apply_swap,
    get_amount_in,
    get_amount_out,
    invariant_holds,
    max_amount_out,
    price_impact_ppm,
    spot_price,
)
from rebalancer.errors import Infeasible
from rebalancer.model import PairState, Token

ETHER = 10**18
WETH = Token("0x" + "a" * 40, "WETH", 18)
USDC = Token("0x" + "b" * 40, "USDC", 6)
DAI = Token("0x" + "c" * 40, "DAI", 18)
PAIR = PairState("0xpair", "v2", USDC, WETH, 3_000, 2_500 * 10**9, 1_000 * ETHER, 0, 0, False)


@pytest.mark.parametrize(
    ("amount_in", "reserve_in", "reserve_out", "amount_out"),
    [  # the numbers of v2-core's own specification; each plus 1 reverts there
        (1, 5, 10, 1_662497915624478906),
        (1, 10, 5, 453305446940074565),
        (2, 5, 10, 2_851015155847869602),
        (2, 10, 5, 831248957812239453),
        (1, 10, 10, 906610893880149131),
        (1, 100, 100, 987158034397061298),
        (1, 1000, 1000, 996006981039903216),
    ],
)
def test_get_amount_out__published_numbers__and_one_more_breaks_the_invariant(
    amount_in: int, reserve_in: int, reserve_out: int, amount_out: int
) -> None:
    amounts = amount_in * ETHER, reserve_in * ETHER, reserve_out * ETHER
    assert get_amount_out(*amounts, 3_000) == amount_out
    assert max_amount_out(*amounts, 3_000) == amount_out
    for more in (0, 1):
        assert invariant_holds(
            reserve_in * ETHER,
            reserve_out * ETHER,
            3_000,
            amount0_in=amount_in * ETHER,
            amount1_out=amount_out + more,
        ) == (more == 0)


@pytest.mark.parametrize(
    ("amount_in", "amount_out", "reserve0", "reserve1"),
    [  # a token lent and returned within the swap: amount_out = floor(0.997 * amount_in)
        (ETHER, 997 * 10**15, 5, 10),
        (ETHER, 997 * 10**15, 10, 5),
        (ETHER, 997 * 10**15, 5, 5),
        (1_003009027081243732, ETHER, 5, 5),
    ],
)
def test_invariant__same_token_out_and_in__costs_the_fee(
    amount_in: int, amount_out: int, reserve0: int, reserve1: int
) -> None:
    for more in (0, 1):
        assert invariant_holds(
            reserve0 * ETHER,
            reserve1 * ETHER,
            3_000,
            amount0_in=amount_in,
            amount0_out=amount_out + more,
        ) == (more == 0)


def test_get_amount_in__no_remainder__is_one_less_than_the_library() -> None:
    # 1 * 997 * 1000 / ((2 - 1) * 997) = 1000 exactly, where UniswapV2Library says 1001.
    assert get_amount_in(1, 997, 2, 3_000) == 1_000
    assert get_amount_out(1_000, 997, 2, 3_000) == 1
    assert get_amount_out(999, 997, 2, 3_000) == 0
    assert invariant_holds(997, 2, 3_000, amount0_in=1_000, amount1_out=1)


def test_nothing__buys_nothing_and_costs_nothing() -> None:
    assert get_amount_out(0, 5, 5, 3_000) == 0
    assert get_amount_in(0, 5, 5, 3_000) == 0
    assert price_impact_ppm(0, 5, 5, 3_000) == 0


def test_fee_of_everything__sells_nothing() -> None:
    assert get_amount_out(10**30, 5, 5, 1_000_000) == 0
    with pytest.raises(Infeasible, match="100 %"):
        get_amount_in(1, 5, 5, 1_000_000)


@pytest.mark.parametrize("amount_out", [5, 6])
def test_get_amount_in__whole_reserve_or_more__is_refused(amount_out: int) -> None:
    with pytest.raises(Infeasible, match="cannot pay"):
        get_amount_in(amount_out, 5, 5, 3_000)


@pytest.mark.parametrize("reserves", [(0, 5), (5, 0), (0, 0)])
def test_empty_pool__is_refused(reserves: tuple[int, int]) -> None:
    for function in (get_amount_out, get_amount_in, max_amount_out, price_impact_ppm):
        with pytest.raises(Infeasible, match="empty"):
            function(1, *reserves, 3_000)
    with pytest.raises(Infeasible, match="empty"):
        spot_price(replace(PAIR, reserve0=reserves[0], reserve1=reserves[1]), WETH)


@pytest.mark.parametrize("fee_ppm", [-1, 1_000_001])
def test_fee_that_is_no_share__is_the_callers_mistake(fee_ppm: int) -> None:
    with pytest.raises(ValueError, match="ppm"):
        get_amount_out(1, 5, 5, fee_ppm)


def test_negative_amount__is_the_callers_mistake() -> None:
    for function in (get_amount_out, get_amount_in, max_amount_out, amount_out_at_spot):
        with pytest.raises(ValueError, match="negative"):
            function(-1, 5, 5, 3_000)
    with pytest.raises(ValueError, match="negative"):
        invariant_holds(5, 5, 3_000, amount0_in=1, amount1_out=-1)


def test_invariant__more_taken_than_there_is__fails_although_the_product_is_positive() -> None:
    assert not invariant_holds(5, 5, 3_000, amount0_out=100, amount1_out=100)


@pytest.mark.parametrize(
    ("token_in", "amount_in", "reserve0", "reserve1", "amount_out"),
    [
        (WETH, ETHER, 2_500 * 10**9 - 2_490_017_452, 1_001 * ETHER, 2_490_017_452),
        (USDC, 10**9, 2_501 * 10**9, 1_000 * ETHER - 398641021960442175, 398641021960442175),
    ],
)
def test_apply_swap__moves_both_reserves(
    token_in: Token, amount_in: int, reserve0: int, reserve1: int, amount_out: int
) -> None:
    assert apply_swap(PAIR, token_in, amount_in) == (
        replace(PAIR, reserve0=reserve0, reserve1=reserve1),
        amount_out,
    )


def test_apply_swap__too_little_to_buy_a_unit__is_refused() -> None:
    with pytest.raises(Infeasible, match="buy nothing"):
        apply_swap(PAIR, WETH, 1)


def test_apply_swap__reserve_at_uint112__is_the_last_that_fits() -> None:
    room = UINT112_MAX - PAIR.reserve1
    assert apply_swap(PAIR, WETH, room)[0].reserve1 == UINT112_MAX
    with pytest.raises(Infeasible, match="cannot hold"):
        apply_swap(PAIR, WETH, room + 1)


def test_foreign_token__is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="DAI"):
        apply_swap(PAIR, DAI, ETHER)
    with pytest.raises(ValueError, match="DAI"):
        spot_price(PAIR, DAI)


def test_spot_price__is_the_ratio_of_the_reserves_both_ways() -> None:
    assert spot_price(PAIR, WETH) == Fraction(2_500 * 10**6, ETHER)
    assert spot_price(PAIR, WETH) * spot_price(PAIR, USDC) == 1


def test_price_impact__stands_apart_from_the_fee() -> None:
    assert price_impact_ppm(1_000, 1_000, 77, 0) == 500_000
    assert price_impact_ppm(2_000, 1_000, 77, 500_000) == 500_000
    assert price_impact_ppm(ETHER, 1_000 * ETHER, 77, 3_000) == 997  # 996.007 rounded up


def test_parts_of_a_trade__spot_less_fee_less_impact__is_what_it_pays() -> None:
    pool = 10 * ETHER, 1_000 * ETHER, 2_500 * 10**9
    at_spot, after_fee = amount_out_at_spot(*pool), amount_out_at_spot(*pool, 3_000)
    paid = get_amount_out(*pool, 3_000)
    assert (at_spot, after_fee, paid) == (25_000_000_000, 24_925_000_000, 24_678_950_859)
    assert price_impact_ppm(*pool, 3_000) == 9_872  # 9.97 / (1000 + 9.97) = 0.0098716
    assert (after_fee - paid) * 1_000_000 // after_fee == 9_871


def test_max_amount_out__token_also_paid__bears_the_fee_and_leaves_one_unit() -> None:
    assert max_amount_out(0, 1_000, 1_000_000, 3_000, also_paid=1_000) == 997
    assert max_amount_out(10**30, 1_000, 1_000, 3_000, also_paid=10**6) == 999
