"""Impermanent loss against the published check points, and its identity."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import isqrt

import pytest

from rebalancer.amm import against_entry, fair_value_e8
from rebalancer.errors import ReadError
from rebalancer.model import E8, LpEntry, PairState, Price, Token

ETHER = 10**18
USDC = Token("0x" + "1" * 40, "USDC", 6)
WETH = Token("0x" + "2" * 40, "WETH", 18)
ONE_DOLLAR = Price(USDC, E8, 10**6, "feed", 0)
ENTRY = LpEntry(100, reserve0=2_000_000 * 10**6, reserve1=1_000 * ETHER, total_supply=10**15)
SHARES = 10**14


def eth_at(dollars: Fraction) -> Price:
    return Price(WETH, dollars.numerator * E8, dollars.denominator * ETHER, "feed", 0)


def pool_at(rho: Fraction, growth: Fraction = Fraction(1)) -> PairState:
    """The entry's pool once the price of WETH is ``rho`` times what it was and sqrt(k) ``growth``.

    Exact to the tokens' smallest units: reserve0 goes with sqrt(rho), reserve1 with its inverse.
    """
    reserve0 = isqrt(int(ENTRY.reserve0**2 * rho * growth**2))
    reserve1 = isqrt(int(ENTRY.reserve1**2 / rho * growth**2))
    return PairState("0x", "v2", USDC, WETH, 3_000, reserve0, reserve1, 10**15, 0, False)


@pytest.mark.parametrize(
    ("rho", "loss_permille"),
    [
        ("1", 0),
        ("1.25", -6),
        ("1.5", -20),
        ("1.75", -38),
        ("2", -57),
        ("3", -134),
        ("4", -200),
        ("5", -255),
        ("0.8", -6),
        ("0.5", -57),
        ("0.2", -255),
    ],
)
def test_loss__price_moved_by_rho__is_the_published_one(rho: str, loss_permille: int) -> None:
    price = eth_at(2_000 * Fraction(rho))
    result = against_entry(pool_at(Fraction(rho)), SHARES, ENTRY, ONE_DOLLAR, price)
    assert round(Fraction(result.il_e8 * 1_000, result.held_e8)) == loss_permille
    # A tenth of 2m USDC and of 1,000 WETH at today's price.
    assert result.held_e8 == 200_000 * E8 + int(100 * 2_000 * Fraction(rho)) * E8
    # Without fees nothing but the pool's own rounding is left over.
    assert abs(result.fees_e8) <= result.value_e8 // 10**9


def test_parts__price_doubled_and_one_percent_of_fees__add_up_to_the_value() -> None:
    pool = pool_at(Fraction(4), growth=Fraction(101, 100))
    price = eth_at(Fraction(8_000))
    result = against_entry(pool, SHARES, ENTRY, ONE_DOLLAR, price)
    assert result.held_e8 == 1_000_000 * E8
    assert result.il_e8 == -200_000 * E8
    assert result.fees_e8 == 8_000 * E8  # 1 % of the 800,000 that are left
    assert result.value_e8 == 808_000 * E8 == fair_value_e8(pool, SHARES, ONE_DOLLAR, price)


def test_loss__depends_on_the_oracle__not_on_where_the_pool_was_pushed() -> None:
    price = eth_at(Fraction(2_000))
    pushed = against_entry(pool_at(Fraction(100)), SHARES, ENTRY, ONE_DOLLAR, price)
    assert pushed.il_e8 == 0
    assert abs(pushed.fees_e8) <= pushed.value_e8 // 10**9


def test_protocol_fee__pending__comes_out_of_the_fees() -> None:
    pool = replace(
        pool_at(Fraction(1), growth=Fraction(2)),
        protocol_fee_on=True,
        k_last=ENTRY.reserve0 * ENTRY.reserve1,
    )
    result = against_entry(pool, SHARES, ENTRY, ONE_DOLLAR, eth_at(Fraction(2_000)))
    assert (result.held_e8, result.il_e8) == (400_000 * E8, 0)
    # sqrt(k) per share doubled and the protocol keeps a sixth of the growth.
    assert abs(result.fees_e8 - 400_000 * E8 * 5 // 6) <= 1_000


@pytest.mark.parametrize("field", ["reserve0", "reserve1", "total_supply"])
def test_entry_without_reserves_or_shares__is_refused(field: str) -> None:
    entry = replace(ENTRY, **{field: 0})
    with pytest.raises(ReadError, match="at block 100"):
        against_entry(pool_at(Fraction(1)), 1, entry, ONE_DOLLAR, eth_at(Fraction(2_000)))
