"""The fair LP value: right at the oracle's price, and deaf to whoever pushes the pool."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rebalancer.amm import (
    apply_swap,
    effective_total_supply,
    fair_value_e8,
    spot_value_e8,
)
from rebalancer.errors import Infeasible, ReadError
from rebalancer.model import E8, PairState, Price, Token

ETHER = 10**18
USDC = Token("0x" + "1" * 40, "USDC", 6)
WETH = Token("0x" + "2" * 40, "WETH", 18)
ONE_DOLLAR = Price(USDC, E8, 10**6, "feed", 0)
ETH_2500 = Price(WETH, 2_500 * E8, ETHER, "feed", 0)
#: 1,000 WETH and 2.5m USDC, $5m in 10^12 shares.
PAIR = PairState("0x", "v2", USDC, WETH, 3_000, 2_500_000 * 10**6, 1_000 * ETHER, 10**12, 0, False)


def test_fair_value__pool_at_the_oracles_price__is_the_sum_of_both_sides() -> None:
    assert fair_value_e8(PAIR, 10**12, ONE_DOLLAR, ETH_2500) == 5_000_000 * E8
    assert fair_value_e8(PAIR, 10**9, ONE_DOLLAR, ETH_2500) == 5_000 * E8
    assert spot_value_e8(PAIR, 10**9, ONE_DOLLAR, ETH_2500) == 5_000 * E8


def test_fair_value__is_rounded_down_once() -> None:
    pair = replace(PAIR, reserve0=1, reserve1=2, total_supply=3)
    dollar, two = Price(USDC, 1, 1, "feed", 0), Price(WETH, 1, 1, "feed", 0)
    assert fair_value_e8(pair, 3, dollar, two) == 2  # 2 * sqrt(2) = 2.83
    assert fair_value_e8(pair, 1, dollar, two) == 0  # 2 * sqrt(2) / 3 = 0.94
    huge = Price(USDC, 10**40, 1, "feed", 0)
    assert fair_value_e8(pair, 3, huge, two) == 282842712474619009760  # 2e20 * sqrt(2)


def test_fair_value__oracle_moves__goes_with_the_root_of_the_price() -> None:
    eth_10_000 = replace(ETH_2500, numerator=10_000 * E8)
    assert fair_value_e8(PAIR, 10**12, ONE_DOLLAR, eth_10_000) == 10_000_000 * E8
    assert spot_value_e8(PAIR, 10**12, ONE_DOLLAR, eth_10_000) == 12_500_000 * E8


@pytest.mark.parametrize("token", [USDC, WETH])
def test_fair_value__pool_pushed_a_hundredfold__only_gains_the_fee(token: Token) -> None:
    reserve_in, _ = PAIR.reserves(token)
    pushed, _ = apply_swap(PAIR, token, 9 * reserve_in)
    fair = fair_value_e8(pushed, 10**12, ONE_DOLLAR, ETH_2500)
    spot = spot_value_e8(pushed, 10**12, ONE_DOLLAR, ETH_2500)
    # The fee of nine reserves grows sqrt(k) by 0.14 %; the sum of both sides grows fivefold.
    assert 5_000_000 * E8 < fair < 5_007_000 * E8
    assert spot > 25_000_000 * E8


@pytest.mark.parametrize("token", [USDC, WETH])
def test_fair_value__pool_pushed_without_fee__stays_to_the_rounding_of_one_unit(
    token: Token,
) -> None:
    free = replace(PAIR, fee_ppm=0)
    pushed, _ = apply_swap(free, token, 9 * free.reserves(token)[0])
    before = fair_value_e8(free, 10**12, ONE_DOLLAR, ETH_2500)
    after = fair_value_e8(pushed, 10**12, ONE_DOLLAR, ETH_2500)
    assert 0 <= after - before <= before // 10**9


def test_fair_value__pending_protocol_fee__belongs_to_the_protocol() -> None:
    # sqrt(k) doubled since kLast: of the growth, a sixth is the protocol's.
    grown = replace(
        PAIR, protocol_fee_on=True, k_last=PAIR.reserve0 * PAIR.reserve1 // 4, total_supply=10**18
    )
    assert effective_total_supply(grown) == 10**18 + 10**18 // 11
    whole = fair_value_e8(grown, 10**18, ONE_DOLLAR, ETH_2500)
    assert abs(whole - 5_000_000 * E8 * 11 // 12) <= 10
    assert spot_value_e8(grown, 10**18, ONE_DOLLAR, ETH_2500) == pytest.approx(whole, rel=1e-9)


def test_no_shares__are_worth_nothing_even_in_an_empty_pair() -> None:
    empty = replace(PAIR, reserve0=0, reserve1=0, total_supply=0)
    assert fair_value_e8(empty, 0, ONE_DOLLAR, ETH_2500) == 0
    assert spot_value_e8(empty, 0, ONE_DOLLAR, ETH_2500) == 0


def test_more_shares_than_there_are__are_refused() -> None:
    with pytest.raises(Infeasible, match="more than"):
        fair_value_e8(PAIR, 10**12 + 1, ONE_DOLLAR, ETH_2500)


def test_wrong_prices__are_refused() -> None:
    for function in (fair_value_e8, spot_value_e8):
        with pytest.raises(ReadError, match="price of WETH was given for USDC"):
            function(PAIR, 1, ETH_2500, ONE_DOLLAR)
        for number in (0, -1):
            for price in (
                replace(ETH_2500, numerator=number),
                replace(ETH_2500, denominator=number),
            ):
                with pytest.raises(ReadError, match="not positive"):
                    function(PAIR, 1, ONE_DOLLAR, price)
