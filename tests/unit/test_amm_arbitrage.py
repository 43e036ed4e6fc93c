"""The arbitrage to the edge of the fee band."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from rebalancer.amm import UINT112_MAX, amount_to_fee_band, apply_swap
from rebalancer.errors import ReadError
from rebalancer.model import E8, Amount, PairState, Price, Token

ETHER = 10**18
USDC = Token("0x" + "1" * 40, "USDC", 6)
WETH = Token("0x" + "2" * 40, "WETH", 18)
ONE_DOLLAR = Price(USDC, E8, 10**6, "feed", 0)
PAIR = PairState("0x", "v2", USDC, WETH, 3_000, 2_500_000 * 10**6, 1_000 * ETHER, 1, 0, False)


def eth_at(dollars: int) -> Price:
    return Price(WETH, dollars * E8, ETHER, "feed", 0)


@pytest.mark.parametrize("dollars", [2_493, 2_500, 2_507])
def test_inside_the_band__nothing_to_trade(dollars: int) -> None:
    assert amount_to_fee_band(PAIR, ONE_DOLLAR, eth_at(dollars)) == Amount(USDC, 0)


@pytest.mark.parametrize(
    ("dollars", "token"), [(2_492, WETH), (2_000, WETH), (2_508, USDC), (3_125, USDC)]
)
def test_outside_the_band__sells_what_is_too_dear_up_to_the_edge(
    dollars: int, token: Token
) -> None:
    amount = amount_to_fee_band(PAIR, ONE_DOLLAR, eth_at(dollars))
    assert amount.token == token
    for unit, pays in ((0, True), (1, False)):
        assert _margin_pays(amount.raw + unit, token, dollars) == pays
    after, _ = apply_swap(PAIR, token, amount.raw)
    assert amount_to_fee_band(after, ONE_DOLLAR, eth_at(dollars)).raw == 0


def _margin_pays(amount_in: int, token: Token, dollars: int) -> bool:
    """Whether the curve's slope after ``amount_in`` still pays the oracle's price, in fractions."""
    gamma = Fraction(997, 1_000)
    reserve_in, reserve_out = PAIR.reserves(token)
    slope = gamma * reserve_in * reserve_out / (reserve_in + gamma * amount_in) ** 2
    usdc_per_wei = Fraction(dollars * 10**6, ETHER)
    return slope >= (usdc_per_wei if token == WETH else 1 / usdc_per_wei)


def test_without_a_fee__moves_the_pool_to_the_oracles_price() -> None:
    free = replace(PAIR, fee_ppm=0)
    amount = amount_to_fee_band(free, ONE_DOLLAR, eth_at(10_000))
    assert amount == Amount(USDC, 2_500_000 * 10**6)
    after, amount_out = apply_swap(free, USDC, amount.raw)
    assert (after.reserve0, after.reserve1, amount_out) == (5 * 10**12, 500 * ETHER, 500 * ETHER)


def test_pool_that_nothing_pays__is_left_alone() -> None:
    for pair in (replace(PAIR, reserve0=0), replace(PAIR, fee_ppm=1_000_000)):
        assert amount_to_fee_band(pair, ONE_DOLLAR, eth_at(1)).raw == 0


def test_trade_that_would_buy_nothing__is_none() -> None:
    # The edge lies some fifty wei of WETH away, which would buy half a unit of USDC.
    dust = replace(PAIR, reserve0=10, reserve1=1_000)
    assert amount_to_fee_band(dust, ONE_DOLLAR, eth_at(9 * 10**9)).raw == 0
    assert amount_to_fee_band(dust, ONE_DOLLAR, eth_at(7 * 10**9)).raw > 100


def test_pool_near_uint112__takes_no_more_than_it_can_hold() -> None:
    full = replace(PAIR, reserve0=UINT112_MAX - 7, reserve1=UINT112_MAX)
    assert amount_to_fee_band(full, ONE_DOLLAR, eth_at(10**20)) == Amount(USDC, 7)


def test_wrong_prices__are_refused() -> None:
    with pytest.raises(ReadError, match="was given for"):
        amount_to_fee_band(PAIR, eth_at(1), ONE_DOLLAR)
    with pytest.raises(ReadError, match="not positive"):
        amount_to_fee_band(PAIR, ONE_DOLLAR, eth_at(0))
