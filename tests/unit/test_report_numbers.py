"""Numbers as a person reads them."""

from __future__ import annotations

import pytest

from rebalancer.model import Token
from rebalancer.report.numbers import (
    age,
    gwei,
    money,
    percent,
    points,
    quantity,
    short,
    unit_price,
    utc,
)

USDC = Token("0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48", "USDC", 6)
WETH = Token("0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2", "WETH", 18)


@pytest.mark.parametrize(
    ("value_e8", "text"),
    [(123_456_789_012, "1,234.56"), (0, "0.00"), (1, "<0.01"), (-1, ">-0.01")],
)  # fmt: skip
def test_money(value_e8: int, text: str) -> None:
    assert money(value_e8, "USD") == text


def test_money__signed() -> None:
    assert money(150_000_000, "USD", signed=True) == "+1.50"
    assert money(0, "USD", signed=True) == "0.00"


def test_percent_and_points() -> None:
    assert percent(445_000) == "44.50 %"
    assert points(45_000) == "+4.50 pt"
    assert points(-45_000) == "-4.50 pt"
    assert points(-1) == "0.00 pt"


def test_quantity__never_shows_more_than_there_is() -> None:
    assert quantity(1_999_999, USDC) == "1.999999"
    assert quantity(1_234_567_899, USDC) == "1,234.56"
    assert quantity(10**18 - 1, WETH) == "0.999999"
    assert quantity(7, Token(USDC.address, "X", 0)) == "7"


def test_age_gwei_short() -> None:
    assert [age(s) for s in (45, 720, 11_100, 187_200)] == ["45s", "12m", "3h 05m", "2d 4h"]
    assert gwei(1_500_000_000) == "1.500 gwei"
    assert short("0x1234567890abcdef") == "0x12345678…"
    assert utc(1_700_000_000) == "2023-11-14 22:13:20 UTC"


def test_unit_price__shows_a_lost_peg() -> None:
    assert unit_price(99_950_000) == "0.999500"
    assert unit_price(375_012_345_678) == "3,750.12"
