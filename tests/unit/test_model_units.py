"""Numbers as people write them: exact, however long; nothing that could be meant otherwise."""

from __future__ import annotations

import pytest

from rebalancer.model import format_units, parse_units


@pytest.mark.parametrize(
    ("text", "decimals", "raw"),
    [
        ("1.5", 6, 1_500_000),
        ("1,234,567.5", 6, 1_234_567_500_000),
        ("1_000", 0, 1_000),
        (" -0.25 ", 2, -25),
        ("+.5", 1, 5),
        ("5.", 0, 5),
        ("1e3", 6, 10**9),
        ("1.50e-05", 8, 1_500),
        ("100e-2", 0, 1),
        ("12345678901.234567890123456789", 18, 12345678901234567890123456789),
        (str(2**256 - 1), 0, 2**256 - 1),
    ],
)
def test_parse_units__to_the_last_digit(text: str, decimals: int, raw: int) -> None:
    assert parse_units(text, decimals) == raw


@pytest.mark.parametrize(
    "text",
    ["", " ", ".", "-", "nan", "inf", "-Infinity", "1,5", "1,50", "12,34,567", ",5", "1.2.3",
     "1 000", "0x10", "1e", "1e1000", "--5", "\u0663", "1/2", "9" * 201, "e3", "1__e5_"],
)  # fmt: skip
def test_parse_units__what_is_no_number__is_called_none(text: str) -> None:
    with pytest.raises(ValueError, match="is not a number"):
        parse_units(text, 6)


@pytest.mark.parametrize("text", ["0.1234567", "-0.0000001", "1e-7"])
def test_parse_units__finer_than_the_unit__refused(text: str) -> None:
    with pytest.raises(ValueError, match="more than 6 decimals"):
        parse_units(text, 6)


@pytest.mark.parametrize("decimals", [0, 1, 6, 8, 18, 27])
@pytest.mark.parametrize("raw", [0, 1, -1, 10**6, -(10**18) - 1, 2**112 + 7, 2**256 - 1])
def test_parse_units__reads_what_format_units_writes(raw: int, decimals: int) -> None:
    assert parse_units(format_units(raw, decimals), decimals) == raw
