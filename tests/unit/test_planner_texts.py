"""How numbers are written for people."""

from __future__ import annotations

import pytest

from rebalancer.planner.texts import (
    duration,
    gwei,
    money,
    percent,
    points,
    signed_points,
    told_apart,
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3_599, "59 min 59 s"),
        (3_601, "1 h 1 s"),
        (93_784, "1 d 2 h"),
        (-60, "-1 min"),
    ],
)
def test_duration(seconds, text):
    assert duration(seconds) == text


def test_ratios_values_and_prices():
    assert (points(30_000), points(-5), percent(1_234_567)) == ("3.00", "0.00", "123.46%")
    assert (signed_points(21_000), signed_points(-21_000)) == ("+2.10", "-2.10")
    assert money(123_456_789_012, "USD") == "1,234.56 USD"
    assert gwei(25_500_000_000) == "25.50 gwei"


@pytest.mark.parametrize(
    ("first", "second", "most", "texts"),
    [
        (20_000, 30_000, 4, ("2.00", "3.00")),
        (30_001, 30_000, 4, ("3.0001", "3.0000")),
        (30_010, 30_000, 4, ("3.001", "3.000")),
        (30_000, 30_000, 4, ("3.00", "3.00")),
        (-30_000, 30_000, 4, ("-3.00", "3.00")),
    ],
)
def test_two_numbers_are_told_apart(first, second, most, texts):
    assert told_apart(points, first, second, most) == texts
