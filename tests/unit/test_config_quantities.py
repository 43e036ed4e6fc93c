"""Quantities as people write them."""

from __future__ import annotations

import pytest

from rebalancer.config.quantities import (
    parse_duration,
    parse_gas_price,
    parse_ratio,
    parse_share,
    parse_value,
)


@pytest.mark.parametrize(
    ("text", "ppm"),
    [("40%", 400_000), ("0.3%", 3_000), ("30bp", 3_000), ("100 %", 1_000_000), ("0.0001%", 1),
     ("0.01bp", 1), ("250%", 2_500_000), ("0%", 0)],
)  # fmt: skip
def test_ratio__is_parts_per_million(text: str, ppm: int) -> None:
    assert parse_ratio(text) == ppm


@pytest.mark.parametrize("text", [40, 0.4, "40", "-1%", "forty%", "0.00001%", "", None, "1.2.3%"])
def test_ratio__anything_else__refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"ratio|part per million"):
        parse_ratio(text)


def test_share__over_100_percent__refused() -> None:
    with pytest.raises(ValueError, match="more than 100%"):
        parse_share("100.0001%")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("45s", 45), ("5m", 300), ("1h", 3_600), ("7d", 604_800), ("2w", 1_209_600)],
)
def test_duration(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", [300, "300", "5 min", "-5m", "1.5h", None])
def test_duration__anything_else__refused(text: object) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


def test_gas_price() -> None:
    assert parse_gas_price("50 gwei") == 50 * 10**9
    assert parse_gas_price("0.000000001 gwei") == 1
    with pytest.raises(ValueError, match="gas price"):
        parse_gas_price(50)


def test_value() -> None:
    assert parse_value(100) == 100 * 10**8
    assert parse_value("0.00000001") == 1
    for wrong in (-1, True, "x", "0.000000001"):
        with pytest.raises(ValueError):  # noqa: PT011 - each has its own text
            parse_value(wrong)


@pytest.mark.parametrize("text", ["9" * 80 + "d", "3651d", "999999999w"])
def test_duration__beyond_ten_years__refused(text: str) -> None:
    with pytest.raises(ValueError, match="ten years"):
        parse_duration(text)
